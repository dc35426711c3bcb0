"""The README is correct: its plugin trains, its commands exist, its configuration is valid."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from undertow.cli import main
from undertow.config.load import load_mapping
from undertow.studies.plan.load import load_study_mapping

pytestmark = pytest.mark.usefixtures("settled_home")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.S | re.M)


def run(line: str) -> int:
    """Run a command line, and return its exit code."""
    return main(shlex.split(line)[1:])


def test_the_cell_of_the_readme_trains_with_the_command_below_it(home: Path) -> None:
    [source] = [block for block in blocks("python") if block.startswith("# my_cell.py")]
    [command] = [line for line in README.splitlines() if "--plugin my_cell.py" in line]
    (home / "my_cell.py").write_text(source)
    (home / "experiments").symlink_to(ROOT / "experiments")
    assert run(f"{command} --set train.max_steps=4 --quiet") == 0
    assert next(home.glob("leaky-rnn-T64-s0-*/result.json")).exists()


def test_the_configuration_of_the_readme_is_valid() -> None:
    experiment, *studies = map(yaml.safe_load, blocks("yaml"))
    assert load_mapping(experiment).config.cell.options["lstm"]["forget_bias"] == 1.0
    assert len(studies) == 2
    experiment["cell"] = {"hidden_size": 8}
    for study in studies:
        study["study"]["name"] = "readme"  # a file would give the study its name
        loaded = load_study_mapping({**experiment, **study})
        assert loaded.space.vary.keys() >= {"cell.name", "task.length", "seed"}


def test_every_command_of_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    documented = re.findall(r"^\| `undertow ((?:plugin |study )?\w+(?:\\\|\w+)*)", README, flags=re.M)
    rows = [
        f"{' '.join(group)} {word}".strip()
        for *group, words in map(str.split, documented)
        for word in words.split(r"\|")
    ]
    assert {"run", "check", "show", "list", "plugin list", "ui", "sync", "doctor"} <= set(rows)
    assert {f"study {word}" for word in ("run", "status", "stop", "report")} <= set(rows)
    for row in rows:
        assert run(f"undertow {row} --help") == 0, row
        assert f"undertow {row}" in capsys.readouterr().out

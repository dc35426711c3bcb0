"""Every YAML in experiments/ is valid, and every smoke experiment runs."""

from pathlib import Path

import pytest

import undertow
from undertow.config.load import load_experiment

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
FILES = sorted(EXPERIMENTS.rglob("*.yaml"))


def named(path: Path) -> str:
    return path.relative_to(EXPERIMENTS).as_posix()


def test_there_are_experiments_to_look_at() -> None:
    assert {"demo.yaml", "smoke/digits.yaml"} <= {named(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_experiment_is_valid_and_asks_a_question(path: Path) -> None:
    config = load_experiment(path).config
    assert config.question.endswith("?")
    assert config.track.experiment != "default"


@pytest.mark.parametrize("path", sorted((EXPERIMENTS / "smoke").glob("*.yaml")), ids=named)
def test_a_smoke_experiment_runs_and_is_recorded(path: Path, home: Path) -> None:
    changes = ["train.max_steps=4", "train.val_every=2", "train.val_examples=32"]
    result = undertow.run(path, set=changes, home=home, progress=False)
    assert result.steps == 4
    assert result.shipped
    assert "val/loss" in result.metrics
    assert "cost/parameters" in result.metrics


def test_the_readme_of_the_experiments_names_every_file() -> None:
    readme = (EXPERIMENTS / "README.md").read_text()
    for path in [*FILES, *EXPERIMENTS.glob("*.py")]:
        assert f"`{named(path)}`" in readme

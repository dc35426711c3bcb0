"""A new plugin works at once: the README's "A new cell in five minutes" word for word, then a task and a probe.

Everything is installed by pip into a virtual environment of the tests' own. It finds all that this one has, and nothing
that is installed into it comes here.
"""

import os
import re
import subprocess
import sysconfig
import venv
from importlib import metadata
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TITLE = "## A new cell in five minutes"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Said(NamedTuple):
    """A command that the README shows, and what it says below it; … stands for anything."""

    command: str
    answer: str


def section() -> str:
    _, found, after = (ROOT / "README.md").read_text().partition(f"{TITLE}\n")
    assert found
    return after.partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(), flags=re.S | re.M)


def transcript() -> list[Said]:
    said = []
    for block in blocks(""):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, answer = part.partition("\n")
            said.append(Said(command, answer.strip("\n")))
    return said


def pattern(answer: str) -> str:
    """The regular expression of an answer: a line of … is any number of lines, elsewhere … is anything in a line."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else _line(line) for line in answer.splitlines()]
    return "".join(lines)


def _line(line: str) -> str:
    return ".*".join(re.escape(piece) for piece in line.split("…")) + r"[ ]*\n"


class Environment:
    """A virtual environment and a working folder.

    Args:
        folder: Where both will be.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        (self.work / "experiments").symlink_to(ROOT / "experiments")
        self._home = folder / "venv"
        venv.create(self._home, symlinks=True)
        outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        code = "import site; " + "; ".join(f"site.addsitedir({path!r})" for path in sorted(outer))
        inner = sysconfig.get_path("purelib", vars={"base": str(self._home), "platbase": str(self._home)})
        (Path(inner) / "outer.pth").write_text(code + "\n")
        python = f"exec '{self._home}/bin/python' -P -m"
        self._script("undertow", f'{python} undertow.cli "$@"')
        self._script("pytest", f'{python} pytest "$@"')
        # Without a network: the build backend is the one that is installed here.
        self._script("pip", f'what=$1; shift; {python} pip "$what" --no-index --no-build-isolation "$@"')

    def _script(self, name: str, line: str) -> None:
        path = self._home / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run(self, command: str) -> str:
        """What a command line says on standard output; it must succeed."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("UNDERTOW_", "PYTEST_", "PIP_"))}
        env.pop("MLFLOW_TRACKING_URI", None)
        path = f"{self._home / 'bin'}{os.pathsep}{env['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.work,
            env={**env, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Environment:
    """Empty but for what is installed here."""
    for name in ("leaky-rnn", "five-minute-task", "five-minute-probe"):
        if _is_installed(name):
            pytest.skip(f"{name} is installed, so it is no new plugin: pip uninstall {name}")
    made = Environment(tmp_path_factory.mktemp("five-minutes"))
    (made.work / "runs").mkdir()
    (made.work / "runs" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return made


def _is_installed(name: str) -> bool:
    return any(each.metadata["Name"] == name for each in metadata.distributions())


def test_a_line_of_dots_is_any_number_of_lines_and_dots_within_a_line_are_anything() -> None:
    assert re.fullmatch(pattern("one\n…\nf…r"), "one\ntwo\nthree\nfour\n")
    assert re.fullmatch(pattern("one\n…\nf…r"), "one\nfour\n")
    assert not re.fullmatch(pattern("one\n…\nf…r"), "one\ntwo\nfive\n")
    assert not re.fullmatch(pattern("one"), "one\ntwo\n")


def test_the_five_minutes_of_the_readme_word_for_word(environment: Environment) -> None:
    said = transcript()
    asked = [" ".join(command.split()[:3]) for command, _ in said]
    run = "undertow run experiments/smoke/digits.yaml"
    assert {"undertow plugin new", "pip install -e", "undertow plugin check", run} <= set(asked)
    for command, answer in said:
        out = environment.run(command)
        assert re.fullmatch(pattern(answer), out), f"$ {command}\n{out}\nThe README has:\n{answer}"
    assert not _is_installed("leaky-rnn")
    source = (environment.work / "leaky-rnn" / "src" / "leaky_rnn" / "cell.py").read_text()
    excerpts = blocks("python")
    assert excerpts
    for excerpt in excerpts:
        assert indent(excerpt, "    ") in source


@pytest.mark.parametrize("kind", ["task", "probe"])
def test_a_new_plugin_of_another_kind_passes_all_that_it_is_told_to_run(environment: Environment, kind: str) -> None:
    name = f"five-minute-{kind}"
    out = environment.run(f"undertow plugin new {kind} {name}")
    commands = [line.strip() for line in out.partition("next:\n")[2].splitlines()]
    assert [command.split()[0] for command in commands] == ["pip", "undertow", "undertow"]
    for command in commands:
        environment.run(command)
    assert f"{name} 0.1.0" in environment.run(f"undertow list {kind}s {name}")

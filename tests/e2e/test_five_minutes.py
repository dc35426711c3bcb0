"""A new plugin works at once: the README's "A new cell in five minutes" word for word, then a task and a probe.

pip installs everything into a virtual environment that is made for these tests. That one sees the packages of this
environment; this environment does not see what is installed there.
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


class Example(NamedTuple):
    """A command in the README and the output below it, in which … stands for any text."""

    command: str
    output: str


def section() -> str:
    _, found, after = (ROOT / "README.md").read_text().partition(f"{TITLE}\n")
    assert found
    return after.partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(), flags=re.S | re.M)


def transcript() -> list[Example]:
    examples = []
    for block in blocks(""):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            examples.append(Example(command, output.strip("\n")))
    return examples


def pattern(output: str) -> str:
    """Return a regular expression: a line with only … matches any number of lines, other … any text in a line."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else _line(line) for line in output.splitlines()]
    return "".join(lines)


def _line(line: str) -> str:
    return ".*".join(re.escape(piece) for piece in line.split("…")) + r"[ ]*\n"


class Environment:
    """A virtual environment and a working folder.

    Args:
        folder: The folder that will hold both.
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
        # Without a network: the installed build backend is used.
        self._script("pip", f'what=$1; shift; {python} pip "$what" --no-index --no-build-isolation "$@"')

    def _script(self, name: str, line: str) -> None:
        path = self._home / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run(self, command: str) -> str:
        """Run a command line that must succeed, and return its standard output."""
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
    """An environment without the plugins that these tests write."""
    for name in ("leaky-rnn", "five-minute-task", "five-minute-probe"):
        if _is_installed(name):
            pytest.skip(f"{name} is already installed: pip uninstall {name}")
    made = Environment(tmp_path_factory.mktemp("five-minutes"))
    (made.work / "runs").mkdir()
    (made.work / "runs" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return made


def _is_installed(name: str) -> bool:
    return any(each.metadata["Name"] == name for each in metadata.distributions())


def test_a_line_of_dots_matches_any_lines_and_dots_in_a_line_match_any_text() -> None:
    assert re.fullmatch(pattern("one\n…\nf…r"), "one\ntwo\nthree\nfour\n")
    assert re.fullmatch(pattern("one\n…\nf…r"), "one\nfour\n")
    assert not re.fullmatch(pattern("one\n…\nf…r"), "one\ntwo\nfive\n")
    assert not re.fullmatch(pattern("one"), "one\ntwo\n")


def test_the_five_minutes_of_the_readme_word_for_word(environment: Environment) -> None:
    examples = transcript()
    commands = [" ".join(command.split()[:3]) for command, _ in examples]
    run = "undertow run experiments/smoke/digits.yaml"
    assert {"undertow plugin new", "pip install -e", "undertow plugin check", run} <= set(commands)
    for command, output in examples:
        out = environment.run(command)
        assert re.fullmatch(pattern(output), out), f"$ {command}\n{out}\nThe README has:\n{output}"
    assert not _is_installed("leaky-rnn")
    source = (environment.work / "leaky-rnn" / "src" / "leaky_rnn" / "cell.py").read_text()
    excerpts = blocks("python")
    assert excerpts
    for excerpt in excerpts:
        assert indent(excerpt, "    ") in source


@pytest.mark.long
@pytest.mark.parametrize("kind", ["task", "probe"])
def test_a_new_task_or_probe_passes_the_commands_that_are_printed(environment: Environment, kind: str) -> None:
    name = f"five-minute-{kind}"
    out = environment.run(f"undertow plugin new {kind} {name}")
    commands = [line.strip() for line in out.partition("next:\n")[2].splitlines()]
    assert [command.split()[0] for command in commands] == ["pip", "undertow", "undertow"]
    for command in commands:
        environment.run(command)
    assert f"{name} 0.1.0" in environment.run(f"undertow list {kind}s {name}")

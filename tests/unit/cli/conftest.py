"""The command line in this process: `call("list", "cells")` gives exit code, standard output and standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from undertow.cli import main


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


Call = Callable[..., Outcome]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet; the working folder is empty, and no store is named by the environment."""
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tmp_path / "runs"


@pytest.fixture
def call(runs: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def digits(runs: Path) -> Path:
    """A right configuration in the working folder."""
    path = Path("digits.yaml")
    path.write_text("task: {name: digits-by-pixel, length: 64}\ncell: {name: lstm, hidden_size: 8}\n")
    return path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a distribution of one module of hooks, as pip would leave it on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules: list[str] = []

    def install(name: str, hooks: str) -> None:
        module = name.replace("-", "_")
        modules.append(module)
        (site / f"{module}.py").write_text(dedent(hooks))
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[undertow]\n{name} = {module}\n")

    yield install
    for module in modules:
        sys.modules.pop(module, None)

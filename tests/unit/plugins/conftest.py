"""Fake distributions with plugins."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from undertow.plugins.discovery import installed


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a fake distribution on the path; those really installed here are blocked."""
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", ",".join(name for name, _, _ in installed()))
    monkeypatch.delenv("UNDERTOW_PLUGINS_ALLOW", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, code: str, *, version: str = "1.0", point: str = "main", points: str = "") -> None:
        module = name.replace("-", "_") + "_hooks"
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[undertow]\n{points or f'{point} = {module}'}\n")
        (tmp_path / f"{module}.py").write_text(dedent(code))

    yield write
    for module in set(sys.modules) - before:
        del sys.modules[module]

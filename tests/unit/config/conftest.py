"""The folder of a user who writes configurations."""

import shutil
from pathlib import Path

import pytest

from undertow.plugins.discovery import installed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a scratch plugin; what is installed is blocked."""
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", ",".join(name for name, _, _ in installed()))
    monkeypatch.delenv("UNDERTOW_PLUGINS_ALLOW", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("plug.py"), tmp_path)
    return tmp_path

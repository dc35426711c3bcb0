"""Deferred imports: what a library does not need is imported by whoever needs it, as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from undertow._system.deferred import deferred


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `waves` that imports its part `foam` and a module `gale`, of which it reads `speed`."""
    (tmp_path / "waves").mkdir()
    (tmp_path / "waves/__init__.py").write_text("from waves import foam\nimport gale\nspeed = gale.speed\n")
    (tmp_path / "waves/foam.py").write_text("height = 3\n")
    (tmp_path / "gale.py").write_text("speed = 12\nname = 'west'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("waves", "waves.foam", "gale"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("library")
def test_a_part_is_imported_at_its_first_use() -> None:
    with deferred("waves.foam"):
        import waves  # type: ignore[import-not-found]
    assert "waves.foam" not in sys.modules
    assert waves.foam.height == 3
    assert "waves.foam" in sys.modules


@pytest.mark.usefixtures("library")
def test_what_the_library_looks_for_does_not_import_it_and_a_later_import_is_the_real_one() -> None:
    with deferred("gale", speed=5):
        import waves
    assert waves.speed == 5
    assert "gale" not in sys.modules
    import gale  # type: ignore[import-not-found]

    assert (gale.speed, gale.name) == (12, "west")


@pytest.mark.usefixtures("library")
def test_what_the_library_needs_after_all_it_gets() -> None:
    with deferred("gale"):
        import waves
    assert waves.speed == 12


@pytest.mark.usefixtures("library")
def test_a_module_that_is_there_stays() -> None:
    import gale

    with deferred("gale", speed=5):
        import waves
    assert waves.speed == 12
    assert sys.modules["gale"] is gale


def test_a_network_is_trained_without_most_of_scipy_which_a_plugin_gets_when_it_imports_it() -> None:
    program = """
import sys
import undertow.api.contract
import pytorch_lightning
assert "scipy.stats" not in sys.modules
import scipy.signal
scipy.signal.windows.hamming(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

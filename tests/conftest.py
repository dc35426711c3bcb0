"""What every test may count on: a home of its own, few threads, and a skip that says what is missing.

    @pytest.mark.browser            # skipped, with the reason, where there is no Chromium
    def test_curves_overlay(home):  # UNDERTOW_HOME is `home`, and so is the working folder
        ...

`UNDERTOW_REQUIRE=browser,postgresql` turns the skips for these into failures: CI sets it, so that a broken
installation cannot pass for a green run.
"""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

# Before torch and MLflow are imported, here or in a process that a test starts. One thread: the networks are tiny, and
# threads of several processes on two cores wait for each other more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables would break their cells


@cache
def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "torch finds no CUDA device"


def _no_browser() -> str | None:
    found = shutil.which("chromium") or Path("/usr/bin/chromium").exists()
    return None if found else "no `chromium` in PATH or /usr/bin: install the package `chromium`"


def _no_postgresql() -> str | None:
    found = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return None if found else "no `initdb` in PATH or /usr/lib/postgresql: install the package `postgresql`"


# Asked only when a test with the marker is about to run: the question about the GPU imports torch.
NEEDS: dict[str, Callable[[], str | None]] = {"gpu": _no_gpu, "browser": _no_browser, "postgresql": _no_postgresql}


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("UNDERTOW_REQUIRE", "").split(",") if name.strip()}


def pytest_configure() -> None:
    unknown = _required() - NEEDS.keys()
    if unknown:
        raise pytest.UsageError(f"UNDERTOW_REQUIRE={','.join(sorted(unknown))}: it can name {', '.join(NEEDS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, lacking in NEEDS.items():
        reason = lacking() if item.get_closest_marker(name) else None
        if reason and name in _required():
            pytest.fail(f"UNDERTOW_REQUIRE names {name}, but {reason}", pytrace=False)
        if reason:
            pytest.skip(reason)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is both the home of all runs and the working folder."""
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised MLflow database to copy, made once: its migrations take seconds."""
    from undertow.track.sink import Sink

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    assert Sink(f"sqlite:///{path}", path.parent / "artifacts").answers()
    return path

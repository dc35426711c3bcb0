"""A study runs the code that it was started with, even if its files are edited meanwhile."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.run import run_study

pytestmark = pytest.mark.slow

SEEDS = "study.vary={seed: [0, 1, 2, 3]}"
OTHER = "\nwith open('versions', 'a') as file:\n    file.write('B')\n"


class EditingView:
    """A view that changes the scratch plugin when the first trial has ended."""

    def __init__(self, plugin: Path) -> None:
        self.plugin = plugin
        self.text = plugin.read_text()

    def show(self, *progress: object) -> None:
        pass

    def ended(self, name: str, state: str, reason: str) -> None:
        self.plugin.write_text(self.text + OTHER)


def digest(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def test_an_edit_changes_no_trial_and_the_next_start_refuses_it_unless_allowed(
    bombs: Callable[..., LoadedStudy], home: Path
) -> None:
    loaded = bombs(SEEDS, "study.workers=1")
    plugin, versions = home / "bomb.py", home / "versions"
    before = digest(plugin)
    view = EditingView(plugin)
    run_study(loaded, home=home, watch=view, limit=3)
    assert not versions.exists(), "the third trial starts after the edit, and still runs the kept copy"

    changed = bombs(SEEDS, "study.workers=1")
    with pytest.raises(RequestError, match="--allow-changed-code") as error:
        run_study(changed, home=home, watch=view)
    assert f"bomb.py: {before} at the start, {digest(plugin)} now" in str(error.value)
    versions.unlink()  # written when this process loaded the edited plugin

    results, report = run_study(changed, home=home, watch=view, allow_changed_code=True)
    assert [trial.state for trial in results.combinations] == ["complete"] * 4
    assert versions.read_text() == "B", "the last trial runs today's code"
    assert f"{before} at the start, {digest(plugin)} now" in results.facts["changed code"]
    assert "changed code" in report.read_text()

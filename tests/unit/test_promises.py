"""Every promise of `platform/README.md` names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECTION = (ROOT / "platform" / "README.md").read_text().partition("\n## What is promised\n")[2].partition("\n## ")[0]
_ROWS = [line.strip("| ").split(" | ") for line in _SECTION.splitlines() if line.startswith("| ")][1:]


def test_the_promises_and_their_limits_are_stated() -> None:
    assert len(_ROWS) > 20
    assert "What is not promised:" in _SECTION


@pytest.mark.parametrize(("promise", "tests"), _ROWS)
def test_every_promise_names_tests_that_exist(promise: str, tests: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named or "the same test" in tests, promise
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file}::{name}"

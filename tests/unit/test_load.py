"""The load of the machine."""

import os

import pytest

from undertow._system.load import load_of, load_text


def test_the_load_is_counted_by_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (5.06, 1.0, 1.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    text = load_text()
    assert text == "5.06 of 2 processors"
    assert load_of(text) == 2.53
    assert load_of("unknown") is None


def test_a_system_without_a_load_average_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg")
    assert load_text() is None

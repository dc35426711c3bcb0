"""`undertow check`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_check_accepts_a_valid_file(call: Call, digits: Path) -> None:
    code, out, err = call("check", digits)
    assert (code, err) == (0, "")
    assert "digits.yaml" in out
    assert "lstm-T64-s0" in out


def test_check_reports_every_error_of_every_file(call: Call, digits: Path) -> None:
    values = write("values.yaml", "task: {name: adding}\ncell: {name: gru, hidden_size: 0}\nseed: -1\n")
    names = write("names.yaml", "task: {name: ading}\ncell: {name: lstn}\n")
    code, out, err = call("check", values, digits, names)
    assert code == 2
    assert "digits.yaml" in out
    assert "values.yaml:2" in err
    assert "values.yaml:3" in err
    assert "`adding`" in err
    assert "`lstm`" in err


def test_check_as_json_lists_problems_by_file(call: Call, digits: Path) -> None:
    wrong = write("wrong.yaml", "task: {name: adding}\ncell: {name: gru, hiden_size: 3}\n")
    outcome = call("check", digits, wrong, "--json")
    assert outcome.code == 2
    document = outcome.document
    assert document["ok"] is False
    assert [(each["file"], each["ok"], len(each["problems"])) for each in document["files"]] == [
        ("digits.yaml", True, 0),
        ("wrong.yaml", False, 1),
    ]


def test_check_applies_overrides_to_every_file(call: Call, digits: Path) -> None:
    code, _, err = call("check", digits, "--set", "task.length=63")
    assert code == 2
    assert "64 or more" in err
    assert call("check", digits, "--set", "cell.name=gru").code == 0


def test_check_without_a_file_says_what_to_type(call: Call) -> None:
    code, _, err = call("check")
    assert code == 2
    assert "undertow check" in err

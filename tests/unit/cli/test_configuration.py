"""`undertow check` and `undertow show`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from undertow.config.load import load_experiment

Call = Callable[..., Any]


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_check_accepts_what_would_run(call: Call, digits: Path) -> None:
    code, out, err = call("check", digits)
    assert (code, err) == (0, "")
    assert "digits.yaml" in out
    assert "lstm-T64-s0" in out


def test_check_tells_all_that_is_wrong_with_all_files(call: Call, digits: Path) -> None:
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


def test_show_says_where_each_value_comes_from(call: Call, digits: Path) -> None:
    code, out, err = call("show", digits, "--set", "cell.layers=2")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["task.length"] == ["64", "digits.yaml:1"]
    assert rows["cell.hidden_size"] == ["8", "digits.yaml:2"]
    assert rows["cell.layers"] == ["2", "--set"]
    assert rows["optim.name"] == ["adam", "default"]
    assert rows["cell.options.lstm.chrono"] == ["false", "default"]


def test_show_resolved_is_yaml_that_loads_back_to_the_same(call: Call, digits: Path) -> None:
    out = call("show", digits, "--resolved", "--set", "cell.name=gru").out
    assert load_experiment(write("again.yaml", out)).config == load_experiment(digits, ["cell.name=gru"]).config


def test_show_schema_is_a_json_schema_and_needs_no_file(call: Call) -> None:
    schema = call("show", "--schema").document
    assert set(schema["required"]) == {"task", "cell"}
    assert schema["additionalProperties"] is False


def test_show_as_json_has_values_and_origins(call: Call, digits: Path) -> None:
    document = call("show", digits, "--json").document
    assert document["config"]["cell"]["name"] == "lstm"
    assert document["origin"]["cell.name"] == "digits.yaml:2"
    json.dumps(document, allow_nan=False)


def test_show_refuses_to_be_two_things_at_once_or_nothing(call: Call, digits: Path) -> None:
    assert call("show", digits, "--resolved", "--schema").code == 2
    assert call("show").code == 2

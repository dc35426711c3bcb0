"""`undertow show`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.config.load import load_experiment

Call = Callable[..., Any]


def test_show_says_where_each_value_comes_from(call: Call, digits: Path) -> None:
    code, out, err = call("show", digits, "--set", "cell.layers=2")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["task.length"] == ["64", "digits.yaml:1"]
    assert rows["cell.hidden_size"] == ["8", "digits.yaml:2"]
    assert rows["cell.layers"] == ["2", "--set"]
    assert rows["optim.name"] == ["adam", "default"]
    assert rows["cell.options.lstm.chrono"] == ["false", "default"]


def test_show_resolved_is_yaml_that_loads_as_the_same_configuration(call: Call, digits: Path) -> None:
    out = call("show", digits, "--resolved", "--set", "cell.name=gru").out
    again = Path("again.yaml")
    again.write_text(out)
    assert load_experiment(again).config == load_experiment(digits, ["cell.name=gru"]).config


def test_show_schema_is_a_json_schema_and_needs_no_file(call: Call) -> None:
    schema = call("show", "--schema").document
    assert set(schema["required"]) == {"task", "cell"}
    assert schema["additionalProperties"] is False


def test_show_as_json_has_values_and_origins(call: Call, digits: Path) -> None:
    document = call("show", digits, "--json").document
    assert document["config"]["cell"]["name"] == "lstm"
    assert document["origin"]["cell.name"] == "digits.yaml:2"
    json.dumps(document, allow_nan=False)


def test_show_needs_either_a_file_or_one_option_that_replaces_it(call: Call, digits: Path) -> None:
    assert call("show", digits, "--resolved", "--schema").code == 2
    assert call("show").code == 2


def test_keys_are_never_broken_at_80_columns(call: Call, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("experiments/with-a-long-name") / digits
    file.parent.mkdir(parents=True)
    digits.rename(file)
    keys = call("show", file, "--json").document["origin"]
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("show", file).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line.strip()} >= set(keys)


def test_no_value_and_no_origin_is_broken_at_80_columns(
    call: Call, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("experiments/with-a-long-name") / digits
    file.parent.mkdir(parents=True)
    digits.rename(file)
    question = "Does the gradient of a network with a long name reach back over all of the steps?"
    store = f"sqlite:////{'/'.join(['folder'] * 12)}/mlflow.db"
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("show", file, "--set", f"question={question}").out.splitlines()
    assert max(map(len, lines)) <= 80
    words = [word for line in lines for word in line.split()]
    assert set(question.split()) <= set(words)
    assert "digits.yaml:2" in words
    below = call("show", file, "--set", f"track.uri={store}").out.splitlines()
    assert store in "".join(line.strip() for line in below)  # longer than a line: that it has one place is enough
    place = below.index("cell.name")
    assert below[place : place + 3] == ["cell.name", "  value: lstm", "  from: digits.yaml:2"]

"""YAML 1.2: the data and the positions of a text."""

import pytest

from undertow.config.yaml12 import YamlError, parse, write


def test_scalars_follow_yaml_1_2() -> None:
    text = "[1e-3, 1E5, .5, 0o17, 0x1f, 007, yes, Off, 12:30, 2020-01-01, 1_000, TRUE, ~, '1', .inf]"
    expected = [0.001, 1e5, 0.5, 15, 31, 7, "yes", "Off", "12:30", "2020-01-01", "1_000", True, None, "1", float("inf")]
    found, _ = parse(text)
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]


def test_text_that_yaml_could_read_as_a_number_is_quoted() -> None:
    data = {
        "a": ["1e-3", "yes", "0o17", "12:30", "null", "", "2020-01-01", "a: b", "- a", "#", "é\nü"],
        "b": 1e-5,
        "c": 1e20,
    }
    assert parse(write(data))[0] == data


def test_aliases_of_aliases_cannot_exhaust_the_memory() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(YamlError, match="too many values"):
        parse("\n".join(lines))


def test_positions_count_from_one_and_reach_into_lists() -> None:
    _, positions = parse("a:\n  - b: 1\n    c: [2, 3]\n")
    assert positions["a", 0, "c"] == (3, 5)
    assert positions["a", 0, "c", 1] == (3, 12)

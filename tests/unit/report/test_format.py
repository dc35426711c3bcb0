"""How names and values are written."""

import pytest

from undertow.config.space import Value
from undertow.report.format import format_value, short_names


def test_keys_that_share_their_last_word_all_get_as_many_words_as_make_them_different() -> None:
    keys = ["cell.name", "optim.lr", "cell.options.lstm.forget_bias", "cell.options.gru.forget_bias"]
    assert list(short_names(keys).values()) == ["cell", "lr", "lstm.forget_bias", "gru.forget_bias"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (64.0, "64"),
        (1e-05, "1e-05"),
        (0.12345678, "0.12345678"),
        (None, "null"),
        (True, "true"),
        ((0.9, (64.0, None)), "[0.9, [64, null]]"),
    ],
)
def test_values_are_written_as_in_yaml_with_all_their_digits(value: Value, text: str) -> None:
    assert format_value(value) == text

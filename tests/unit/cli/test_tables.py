"""Tables of a terminal: no word is broken, no name is cut."""

import pytest
from rich.console import Console

from undertow.cli.output.tables import print_table, table, tables

COLUMNS = ["name", "first number", "second number", "third number"]
ROWS = [["torchrecurrent/gated-antisymmetric-rnn", "0.123 [0.1, 0.2]", "4,810", "12"], ["lstm", "1", "2", "3"]]


def printed(width: int, **options: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        for each in tables(COLUMNS, ROWS, width, right=COLUMNS[1:], **options):
            console.print(each)
    return [line.rstrip() for line in capture.get().splitlines()]


def words(lines: list[str]) -> list[str]:
    return [word for line in lines for word in line.split()]


@pytest.mark.parametrize("width", range(64, 120, 7))
def test_no_word_is_broken_where_there_is_room_for_the_longest(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert {word for row in ROWS for text in row for word in text.split()} <= set(words(lines))


def test_a_table_that_is_too_wide_is_in_blocks_that_begin_with_the_names() -> None:
    lines = printed(60, keys=1)
    assert max(map(len, lines)) <= 60
    rows = [line.split() for line in lines if line.startswith("torchrecurrent")]
    assert [row[0] for row in rows] == [ROWS[0][0]] * 3
    assert [" ".join(row[1:]) for row in rows] == ROWS[0][1:]


def test_without_names_a_table_that_is_too_wide_is_printed_row_by_row() -> None:
    lines = printed(42)
    assert lines[:2] == [ROWS[0][0], "  first number: 0.123 [0.1, 0.2]"]
    assert lines[4:6] == ["lstm", "  first number: 1"]


def test_names_are_never_wrapped() -> None:
    grid = table(["a name", "text"], [["of two", "one two three four"]], width=16)
    console = Console(width=16)
    with console.capture() as capture:
        console.print(grid)
    assert any(line.startswith("of two") for line in capture.get().splitlines())


def test_a_table_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    print_table(COLUMNS, ROWS)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 64

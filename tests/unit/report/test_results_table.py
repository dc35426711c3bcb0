"""The table of results, in rows and in Markdown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from undertow.config.space import Space
from undertow.report import markdown_table, result_table, write_table
from undertow.report.results import Objective, StudyResults

Make = Callable[..., StudyResults]


def test_a_row_for_each_combination_but_the_seed(whole: StudyResults) -> None:
    table = result_table(whole)
    assert table.columns[:3] == ("cell", "length", "val/loss")
    assert table.columns[-3:] == ("n", "seeds", "left out")
    assert len(table.rows) == 16
    assert len({len(row) for row in (table.columns, *table.rows)}) == 1


def test_every_centre_has_its_spread_unless_that_is_off(whole: StudyResults) -> None:
    column = result_table(whole).columns.index("val/loss")
    assert all("[" in row[column] for row in result_table(whole).rows if row[column] != "–")
    assert not any("[" in row[column] for row in result_table(whole, spread=False).rows)


def test_a_combination_without_a_run_keeps_its_row(whole: StudyResults) -> None:
    row = next(row for row in result_table(whole).rows if row[:2] == ("rnn", "512"))
    assert row[2] == "–"
    assert row[-3:] == ("0 of 3", "–", "2 pruned, 1 missing")


def test_costs_are_medians_over_the_seeds_where_they_were_measured(whole: StudyResults) -> None:
    table = result_table(whole)
    speeds = sorted(
        each.metrics["cost/steps_per_second"]
        for each in whole.combinations
        if each.state == "complete" and (each.params["cell.name"], each.params["task.length"]) == ("lstm", 64)
    )
    row = next(row for row in table.rows if row[:2] == ("lstm", "64"))
    assert len(speeds) == 3
    assert row[table.columns.index("steps/s")] == f"{speeds[1]:.3g}"
    assert row[table.columns.index("parameters")] == "4,810"
    objectives = (Objective("cost/steps_per_second", "maximize"),)
    assert "steps/s" not in result_table(replace(whole, objectives=objectives)).columns
    unmeasured = [replace(each, metrics={}) for each in whole.combinations]
    assert not {"steps/s", "parameters"} & set(result_table(replace(whole, combinations=tuple(unmeasured))).columns)


def test_a_study_without_seeds_or_excluded_runs_has_no_columns_for_them(make_study: Make) -> None:
    table = result_table(make_study(Space({"cell.name": ("rnn", "gru")}, {})))
    assert not {"seeds", "left out"} & set(table.columns)


def test_columns_of_numbers_are_aligned_to_the_right(whole: StudyResults) -> None:
    right = result_table(whole).right
    assert {"length", "val/loss", "half-life of ∂L/∂x", "n"} <= right
    assert not {"cell", "left out"} & right


def test_columns_and_rows_unpack(whole: StudyResults) -> None:
    columns, rows = result_table(whole)
    assert len(columns) == len(rows[0])


def test_markdown_is_short_and_counts_the_rows_left_out(make_study: Make, make_grid: Callable[..., Space]) -> None:
    results = make_study(make_grid(lengths=tuple(range(10, 200, 5)), seeds=1))
    text = markdown_table(results)
    kept = len(text.split("\n\n")[0].splitlines()) - 2
    assert len(text) < 6000
    assert 10 < kept < 152
    assert f"{152 - kept} more rows are in the report." in text


def test_the_table_in_a_file_has_all_rows(make_study: Make, make_grid: Callable[..., Space], tmp_path: Path) -> None:
    results = make_study(make_grid(lengths=tuple(range(10, 200, 5)), seeds=1))
    text = write_table(results, tmp_path / "made" / "results.md").read_text()
    assert text.startswith(f"# {results.name}\n\n{results.question}\n")
    assert text.count("\n| ") == 1 + 4 * 38 + 1
    assert "more rows" not in text


def test_markdown_of_a_small_study_has_all_rows(make_study: Make, make_grid: Callable[..., Space]) -> None:
    text = markdown_table(make_study(make_grid(cells=("rnn", "gru"), lengths=(64,))))
    *rows, _, reading = text.splitlines()
    assert len(rows) == 4
    assert reading.startswith("median over seeds [range]; costs: their median; val: the validation split")
    assert text.startswith("| cell | length | val/loss |")


def test_markdown_escapes_bars_and_tags_in_values(make_study: Make) -> None:
    text = markdown_table(make_study(Space({"plugins.note": ("a|b", "<img src=x>")}, {})))
    assert "a\\|b" in text
    assert "<img" not in text


def test_a_table_that_is_too_wide_for_markdown_says_so(make_study: Make) -> None:
    vary = {f"task.options.x.{'long' * 20}{number}": (0,) for number in range(90)}
    assert markdown_table(make_study(Space(vary, {}))) == (
        "The table of results is too wide for this place; the report has it.\n"
    )


def test_a_study_without_combinations_has_a_table_without_rows(make_study: Make) -> None:
    results = make_study(Space({"cell.name": ()}, {}))
    assert result_table(results).rows == ()
    assert "The study has no combination." in markdown_table(results)

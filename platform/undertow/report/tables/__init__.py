"""Tables of a report: `results_table` has a row for each group, `runs_table` for each run, `comparison` for tests."""

"""Probes while training: what they are given."""

from math import isfinite


def test_a_probe_measures_on_the_whole_validation_split_where_it_wants_more(run_job) -> None:
    job = run_job(
        "task.name=digit", "task.length=1", "train.max_steps=1", "probes=[{name: weights, every: 1, examples: 301}]"
    )
    found = [value for name, value, _ in job.journal.rows if name.startswith("weights/")]
    assert found
    assert all(map(isfinite, found))

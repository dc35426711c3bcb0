"""Probes during training: the examples that they measure."""

from math import isfinite


def test_a_probe_with_more_examples_than_the_split_measures_the_whole_split(run_job) -> None:
    job = run_job(
        "task.name=digit", "task.length=1", "train.max_steps=1", "probes=[{name: weights, every: 1, examples: 301}]"
    )
    found = [value for name, value, _ in job.journal.rows if name.startswith("weights/")]
    assert found
    assert all(map(isfinite, found))

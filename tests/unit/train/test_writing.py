"""A network that learns to write: in validation it reads its own output."""

import math


def test_validation_without_a_target_improves_and_records_exact_match(run_job) -> None:
    job = run_job(
        "task={name: reverse, length: 4, options: {reverse: {alphabet: 4}}}",
        "cell={name: gru, hidden_size: 32}",
        "optim.lr=0.01",
        "train={max_steps: 300, batch_size: 32, val_every: 150, val_examples: 64, accelerator: cpu, devices: 1}",
    )
    loss, exact_match = (job.journal.series(f"val/{name}") for name in ("loss", "exact_match"))
    assert loss.keys() == exact_match.keys() == {150, 300}
    assert loss[300] < 0.7 * math.log(4)
    assert exact_match[300] > 10 / 4**4


def test_at_another_length_the_steps_of_that_length_are_written(run_job) -> None:
    job = run_job("task={name: reverse, length: 4}", "evaluate={lengths: [4, 7], examples: 32}", "train.max_steps=5")
    assert job.journal.series("test/exact_match/by_length").keys() == {4, 7}

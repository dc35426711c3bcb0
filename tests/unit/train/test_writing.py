"""A network that learns to write: validation lets it read what it wrote itself."""

import math


def test_reversing_is_learned_in_free_running_and_exact_match_is_recorded(run_job) -> None:
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


def test_at_another_length_as_much_is_written_as_that_asks_for(run_job) -> None:
    job = run_job("task={name: reverse, length: 4}", "evaluate={lengths: [4, 7], examples: 32}", "train.max_steps=5")
    assert job.journal.series("val/exact_match/by_length").keys() == {4, 7}

"""The follower: what a running trial has recorded, read while its outbox grows."""

from pathlib import Path

from undertow.studies.work.follow import Follower
from undertow.tracking import Outbox


def test_each_scalar_is_returned_once_and_kept(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "outbox.jsonl")
    assert list(follower.new_scalars()) == []
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        outbox.metrics([("val/loss", 0.5, 10)])
        assert list(follower.new_scalars()) == [("val/loss", 0.5, 10)]
        assert list(follower.new_scalars()) == []
        outbox.metrics([("val/loss", 0.9, 20), ("train/loss", 0.1, 21)])
        assert list(follower.new_scalars()) == [("val/loss", 0.9, 20), ("train/loss", 0.1, 21)]
    assert follower.latest == {"val/loss": 0.9, "train/loss": 0.1}
    assert follower.best["val/loss"] == (0.5, 0.9)
    assert follower.step == 21


def test_snapshots_of_a_curve_become_its_history(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        for step, values in ((0, (-0.5, -9.123456789)), (100, (-0.25, -4.0))):
            name = f"gradient/h/by_lag/at-{step:06d}"
            outbox.metrics([(name, value, lag) for lag, value in zip((1, 64), values, strict=True)])
        outbox.metrics([("gradient/h/by_lag/at-000200", -0.1, 1)])  # incomplete after a crash
        outbox.metrics([("gradient/h/by_lag", -0.1, 1), ("gradient/h/by_lag", -2.0, 64)])
    follower = Follower(tmp_path / "outbox.jsonl")
    assert list(follower.new_scalars()) == []
    curves = {"gradient/h/by_lag": ([1, 64], [-0.1, -2.0])}
    assert follower.history(curves) == {"gradient/h/by_lag": {0: [-0.5, -9.12346], 100: [-0.25, -4.0]}}


def test_the_losses_by_step_are_kept_and_thinned_to_steps_that_shorter_runs_have_too(tmp_path: Path) -> None:
    curves = {}
    for length in (30, 2000):
        with Outbox(tmp_path / f"{length}.jsonl") as outbox:
            outbox.metrics([("train/loss", 1 / step, step) for step in range(10, length * 10 + 1, 10)])
            outbox.metrics([("val/loss", 0.123456789, 100), ("val/accuracy", 0.5, 100)])
        follower = Follower(tmp_path / f"{length}.jsonl")
        list(follower.new_scalars())
        curves[length] = follower.learning_curves()
    steps, values = curves[30]["train/loss/by_step"]
    assert steps == list(range(10, 301, 10))
    assert values[1] == 0.05
    assert curves[30]["val/loss/by_step"] == ([100], [0.12346])
    assert curves[30].keys() == {"train/loss/by_step", "val/loss/by_step"}
    thinned, _ = curves[2000]["train/loss/by_step"]
    assert 64 <= len(thinned) <= 128
    assert set(thinned) & set(steps) == set(steps[::16])


def test_the_load_of_the_machine_is_read_from_its_tags(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        outbox.tags({"undertow.load.start": "5.06 of 2 processors", "undertow.load.end": "nonsense"})
    follower = Follower(tmp_path / "outbox.jsonl")
    list(follower.new_scalars())
    assert follower.load == {"start": 2.53}

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

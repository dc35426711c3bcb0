"""The memory probe: a network that repeats the input at a known lag uses that lag and no other."""

import numpy as np
import pytest
import torch

from undertow import RequestError
from undertow_probes.memory import Memory
from undertow_probes.options import MemoryOptions

H = 3


def shift_register(length: int) -> torch.Tensor:
    """U of a network whose state is the last `length` inputs, the latest first: each step shifts block i to i + 1."""
    return torch.diag(torch.ones(H * (length - 1)), -H)


@pytest.fixture
def repeater(simple_subject):
    """A network whose output is its input `lag` steps before, exactly; only the first H numbers of an input count."""

    def repeater(lag: int, steps: int = 12, target_lag: int | None = None):
        width = H * steps
        subject = simple_subject(shift_register(steps), steps=steps, lag=lag if target_lag is None else target_lag)
        with torch.no_grad():
            subject.batch.input[:, :, H:] = 0.0
            subject.batch.target[:, H:] = 0.0
            subject.model.head.weight.zero_()
            subject.model.head.weight[:H, lag * H : (lag + 1) * H] = torch.eye(H)
        assert subject.batch.input.shape[2] == width
        return subject

    return repeater


def measure(subject, **options):
    return Memory(MemoryOptions(**options)).measure(subject)


@pytest.mark.parametrize("span", ["gap", "step"])
@pytest.mark.parametrize("lag", [0, 1, 5, 11])
def test_only_the_lag_of_the_answer_is_used(lag: int, span: str, repeater) -> None:
    subject = repeater(lag)
    measurement = measure(subject, span=span, fill="zeros")
    curve = measurement.curves["memory/by_lag"]
    assert curve.steps == list(range(12))
    rises = np.array(curve.values)
    expected = float(subject.batch.input[:, -1 - lag].square().mean())
    assert rises[lag] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(np.delete(rises, lag), 0.0, atol=1e-14)
    assert measurement.scalars == {
        "memory/loss": pytest.approx(0.0, abs=1e-14),
        "memory/at_cue": pytest.approx(expected, rel=1e-12),
        "memory/reach": lag,
    }


def test_another_examples_input_is_put_in_its_place(repeater) -> None:
    subject = repeater(4)
    answer_BI = subject.batch.input[:, -5]
    expected = float((answer_BI - answer_BI.roll(1, 0)).square().mean())
    assert measure(subject).curves["memory/by_lag"].values[4] == pytest.approx(expected, rel=1e-12)


def test_every_step_is_hidden_once_between_lags_far_apart(repeater) -> None:
    subject = repeater(9, steps=20)
    curve = measure(subject, lags=3, fill="zeros").curves["memory/by_lag"]
    assert curve.steps == [0, 1, 4, 19]
    assert [value > 1e-3 for value in curve.values] == [False, False, True, False]
    alone = measure(subject, lags=3, fill="zeros", span="step").curves["memory/by_lag"]
    np.testing.assert_allclose(alone.values, 0.0, atol=1e-14)


def test_hiding_a_cue_that_is_not_used_does_not_raise_the_loss(repeater) -> None:
    scalars = measure(repeater(2, target_lag=7), fill="zeros").scalars
    assert scalars["memory/at_cue"] == pytest.approx(0.0, abs=1e-12)
    assert scalars["memory/loss"] > 0.01


def test_hiding_leads_to_the_loss_of_the_input_with_that_step_replaced(make_subject) -> None:
    """On a random network and an aligned task, against the whole network run on a changed input."""
    subject = make_subject("lstm", "copy", length=25, layers=2)
    curve = measure(subject, span="step", lags=1000).curves["memory/by_lag"]
    x_BT, y_BT = subject.batch

    def loss(x_BT) -> float:
        return float(subject.task.loss(subject.model(x_BT), y_BT)[:, -1].mean().detach())

    for lag in (0, 3, 24):
        changed_BT = x_BT.clone()
        changed_BT[:, -1 - lag] = x_BT.roll(1, 0)[:, -1 - lag]
        assert curve.values[lag] == pytest.approx(loss(changed_BT) - loss(x_BT), abs=1e-13)
    assert curve.values[24] != 0


def test_an_untrained_network_uses_nothing_far_back(make_subject) -> None:
    """There, hiding changes the loss by noise only."""
    scalars = measure(make_subject("rnn", length=100, examples=32)).scalars
    assert scalars["memory/reach"] < 10


def test_fill_other_needs_two_examples(make_subject) -> None:
    subject = make_subject("lstm", examples=1)
    with pytest.raises(RequestError, match="only one"):
        measure(subject)
    assert measure(subject, fill="zeros").scalars


@pytest.mark.parametrize(("task", "length"), [("adding", 20), ("copy", 25), ("digits-by-pixel", 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fill", ["other", "zeros"])
def test_any_task(fill, task, length, dtype, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject("lstm", task, length=length, layers=2, dtype=dtype)
    probe = Memory(MemoryOptions(fill=fill))
    measurement = probe.measure(subject)
    is_recordable(measurement)
    assert measurement.curves["memory/by_lag"].steps[-1] == length - 1
    leaves_no_trace(probe, subject)


def test_one_step_has_no_past(make_subject) -> None:
    measurement = measure(make_subject("lstm", "digit", length=1))
    assert not measurement.scalars
    assert not measurement.curves

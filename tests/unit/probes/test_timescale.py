"""The time scale of a gate that depends on its bias alone, of the gradient, and of the cue."""

import math

import pytest
import torch

from undertow import RequestError
from undertow_probes.options import TimescaleOptions
from undertow_probes.timescale import Timescale, kept


def by_biases(subject, biases: dict[int, torch.Tensor], gates: int) -> None:
    """Set all weights to 0, so that the gates depend on the biases alone."""
    for cell in subject.model.layers:
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.zero_()
            for index, bias_H in biases.items():
                cell.b_W.chunk(gates)[index].copy_(bias_H)


def share(kept: float) -> torch.Tensor:
    """The biases of a gate of four units that keeps this share."""
    return torch.full((4,), math.log(kept / (1 - kept)), dtype=torch.float64)


def measure(subject, **options) -> dict[str, float]:
    return dict(Timescale(TimescaleOptions(**options)).measure(subject).scalars)


def test_the_time_scale_of_a_gate_follows_from_its_bias(make_subject) -> None:
    subject = make_subject("lstm", hidden=4)
    by_biases(subject, {1: share(0.9)}, 4)
    scalars = measure(subject, gate="f")
    for name in ("gate", "gate/longest", "gate/median"):
        assert scalars[f"timescale/{name}"] == pytest.approx(-1 / math.log(0.9), rel=1e-9)


def test_units_differ(make_subject) -> None:
    subject = make_subject("lstm", hidden=3)
    by_biases(subject, {1: torch.tensor([0.5, 0.9, 0.99], dtype=torch.float64).logit()}, 4)
    scalars = measure(subject, gate="f")
    assert scalars["timescale/gate"] == pytest.approx(-3 / math.log(0.5 * 0.9 * 0.99), rel=1e-6)
    assert scalars["timescale/gate/arithmetic"] == pytest.approx(-1 / math.log((0.5 + 0.9 + 0.99) / 3), rel=1e-6)
    assert scalars["timescale/gate/median"] == pytest.approx(-1 / math.log(0.9), rel=1e-6)
    assert scalars["timescale/gate/longest"] == pytest.approx(-1 / math.log(0.99), rel=1e-5)


def test_the_gradient_of_a_network_of_gates_alone_has_the_gates_time_scale(make_subject) -> None:
    """Without U, the state of a GRU is passed on by z alone; a small W leaves the slope of tanh at 1."""
    subject = make_subject("gru", hidden=4)
    by_biases(subject, {1: share(0.8)}, 3)
    with torch.no_grad():
        subject.model.layers[0].W.chunk(3)[2].fill_(1e-6)
    scalars = measure(subject, gate="z")
    assert scalars["timescale/gate"] == pytest.approx(-1 / math.log(0.8), rel=1e-9)
    assert scalars["timescale/gradient"] == pytest.approx(-1 / math.log(0.8), rel=1e-6)


def test_a_gate_that_replaces_is_taken_from_one(make_subject) -> None:
    subject = make_subject("gru", hidden=4)
    by_biases(subject, {1: share(0.8)}, 3)
    assert measure(subject, gate="1 - z")["timescale/gate"] == pytest.approx(-1 / math.log(0.2), rel=1e-9)


def test_each_layer_has_its_time_scale(make_subject) -> None:
    subject = make_subject("lstm", layers=2, hidden=4)
    by_biases(subject, {1: share(0.9)}, 4)
    with torch.no_grad():
        subject.model.layers[1].b_W.chunk(4)[1].zero_()
    scalars = measure(subject, gate="f")
    assert scalars["timescale/gate/layer0"] == pytest.approx(-1 / math.log(0.9), rel=1e-9)
    assert scalars["timescale/gate/layer1"] == pytest.approx(-1 / math.log(0.5), rel=1e-9)
    assert scalars["timescale/gate"] == pytest.approx(-2 / math.log(0.9 * 0.5), rel=1e-9)
    assert scalars["timescale/gate/arithmetic"] == pytest.approx(-1 / math.log(0.7), rel=1e-9)


def test_the_cell_says_which_gate_keeps(make_subject) -> None:
    subject = make_subject("gru")
    subject.model.layers[0].keeps = "1 - z"
    assert measure(subject) == measure(subject, gate="1 - z")
    assert measure(subject) != measure(subject, gate="z")


KEEPERS = {
    *("lstm", "lstm-peephole", "lstm-coupled", "lstm-layernorm", "gru", "ugrnn", "mgu", "janet", "fastgrnn"),
    *("mingru", "minlstm", "sru"),
}


@pytest.mark.parametrize("name", sorted(KEEPERS))
def test_the_gate_that_a_cell_names_is_the_slope_of_its_state(name: str, make_subject) -> None:
    """Without weights from the state to the gates, the derivative of the state is the share that is kept."""
    (cell,) = make_subject(name).model.layers
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    z = torch.randn_like(cell.project(torch.zeros(1, 1, cell.input_size, dtype=torch.float64))[0])
    state = tuple(torch.randn_like(part) for part in cell.initial_state(1))

    def memory(part: torch.Tensor) -> torch.Tensor:
        return cell.step(z, (*state[:-1], part))[-1]

    slope_HH = torch.autograd.functional.jacobian(memory, state[-1])[0, :, 0]
    gates = {gate: (values.detach(), kind) for gate, (values, kind) in cell.gates(z, state).items()}
    torch.testing.assert_close(slope_HH, kept(cell, gates, cell.keeps)[0].diag())
    assert slope_HH.diag().std() > 0.01


def test_a_cell_that_names_no_gate_has_no_time_scale(make_subject) -> None:
    assert not measure(make_subject("rnn"))


def test_the_lag_of_the_cue_is_that_of_the_task(make_subject) -> None:
    subject = make_subject("gru", "digits-by-pixel", length=100)
    lags_BC = 99 - subject.task.cues(subject.batch)
    assert measure(subject, gate="z")["timescale/cue"] == pytest.approx(float(lags_BC.double().mean()))


def test_the_error_for_an_unknown_gate_names_all_gates(make_subject) -> None:
    with pytest.raises(RequestError, match=r"GRU has no gate `f`; its gates: `r`, `z`, `n`"):
        measure(make_subject("gru"), gate="f")


def test_a_gate_that_never_closes_is_left_out(make_subject, is_recordable) -> None:
    subject = make_subject("lstm", hidden=4, dtype=torch.float32)
    by_biases(subject, {1: torch.full((4,), 100.0)}, 4)
    measurement = Timescale(TimescaleOptions(gate="f")).measure(subject)
    is_recordable(measurement)
    assert "timescale/gate" not in measurement.scalars
    assert "timescale/cue" in measurement.scalars


@pytest.mark.parametrize(("task", "length"), [("adding", 20), ("copy", 25), ("digits-by-pixel", 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_task(task, length, dtype, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject("lstm", task, length=length, layers=2, dtype=dtype)
    probe = Timescale(TimescaleOptions(gate="f"))
    is_recordable(probe.measure(subject))
    leaves_no_trace(probe, subject)


def test_one_step_has_no_time_scale(make_subject) -> None:
    assert not measure(make_subject("lstm", "digit", length=1), gate="f")


def test_a_gate_that_is_no_share_has_no_time_scale(make_subject) -> None:
    subject = make_subject("gru")
    (cell,) = subject.model.layers
    gates = cell.gates
    cell.gates = lambda z, state: {"z": (gates(z, state)["z"][0].exp(), "exp")}
    with pytest.raises(RequestError, match="gate `z` of GRU is of kind exp, which is no share of a state"):
        measure(subject, gate="z")

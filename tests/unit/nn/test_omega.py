"""Pascanu's Ω against the formula of the paper, step by step. T time, B batch, H hidden."""

import pytest
import torch

from undertow import Options, Vector
from undertow.api.contract import Cell, State
from undertow.nn import SequenceModel
from undertow.nn.omega import omega
from undertow.plugins.host import load_plugins

REGISTRY = load_plugins()
T, B, H = 5, 3, 4


def network(cell: str, layers: int = 1) -> SequenceModel:
    torch.manual_seed(0)
    spec = REGISTRY.cell(cell)
    cells = [REGISTRY.factory(spec)(2 if depth == 0 else H, H, spec.options(), T) for depth in range(layers)]
    return SequenceModel(cells, inputs=Vector(2), output_size=1, shape="many-to-one").double()


def loss_of(model: SequenceModel):
    return lambda y_TBH: model.output(y_TBH).square().sum()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_omega_equals_the_sum_over_steps_of_the_paper(cell: str) -> None:
    model = network(cell)
    (layer,) = model.layers
    x_TBI = torch.randn(T, B, 2, dtype=torch.float64)
    total = 0.0
    for row in range(B):  # one example at a time, each step's Jacobian in full
        state, states = layer.initial_state(1), []
        z_TB = layer.project(x_TBI[:, row : row + 1])
        for z in z_TB:
            state = layer.step(z, state)
            states.append(state)
        loss = (
            model.output(torch.stack([layer.readout(z, s) for z, s in zip(z_TB, states, strict=True)])).square().sum()
        )
        flat = [
            torch.cat(torch.autograd.grad(loss, s, retain_graph=True, materialize_grads=True), 1)[0] for s in states
        ]
        for k in range(T - 1):

            def step(joint: torch.Tensor, z: torch.Tensor = z_TB[k + 1]) -> torch.Tensor:
                return torch.cat(layer.step(z, joint.unsqueeze(0).split(H, dim=1)), 1)[0]

            jacobian = torch.autograd.functional.jacobian(step, torch.cat(states[k], 1)[0].detach())
            total += float(((flat[k + 1] @ jacobian).norm() / flat[k + 1].norm() - 1) ** 2)
    assert omega(model, x_TBI, loss_of(model)).item() == pytest.approx(total / B, rel=1e-9)


def test_omega_of_a_rotation_is_zero() -> None:
    model = network("rnn")
    (layer,) = model.layers
    with torch.no_grad():
        torch.nn.init.orthogonal_(layer.U)
    x_TBI = torch.zeros(T, B, 2, dtype=torch.float64)
    layer.activation = lambda a: a  # linear: tanh would shrink the gradient
    assert omega(model, x_TBI, lambda y: model.decode(y[-1]).sum()).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_gradient_descent_on_omega_lowers_it(layers: int) -> None:
    model = network("rnn", layers)
    x_TBI = torch.randn(T, B, 2, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = omega(model, x_TBI, loss_of(model))
        value.backward()
        values.append(value.item())
        optimizer.step()
    assert values[-1] < 0.7 * values[0]


def test_steps_at_which_no_gradient_arrives_are_left_out() -> None:
    model = network("lstm")
    x_TBI = torch.randn(T, B, 2, dtype=torch.float64)
    early = omega(model, x_TBI, lambda y_TBH: model.decode(y_TBH[1]).sum())
    assert early.item() == pytest.approx(omega(model, x_TBI[:2], lambda y_TBH: model.decode(y_TBH[-1]).sum()).item())
    early.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


class Counting(Cell):
    """A cell with one more state part, an integer that counts the steps and has no effect."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.input_size, cell.hidden_size, Options(), T)
        self.cell = cell

    def initial_state(self, batch_size: int) -> State:
        return (*self.cell.initial_state(batch_size), torch.zeros(batch_size, 1, dtype=torch.int64))

    def project(self, x_TBI: torch.Tensor) -> torch.Tensor:
        return self.cell.project(x_TBI)

    def step(self, z: torch.Tensor, state: State) -> State:
        return (*self.cell.step(z, state[:-1]), state[-1] + 1)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_an_integer_state_part_has_no_gradient_and_is_left_out(cell: str) -> None:
    model = network(cell, layers=2)
    counting = network(cell, layers=2)
    counting.cells = torch.nn.ModuleList(Counting(each) for each in counting.layers)
    x_TBI = torch.randn(T, B, 2, dtype=torch.float64)
    plain, counted = (omega(each, x_TBI, loss_of(each)) for each in (model, counting))
    assert counted.item() == plain.item()
    for one, other in zip(
        *(torch.autograd.grad(o, m.cells.parameters()) for o, m in ((plain, model), (counted, counting))), strict=True
    ):
        assert torch.equal(one, other)


def test_a_gradient_is_cut_where_a_state_part_is_an_integer() -> None:
    model = network("gru")
    counting = network("gru")
    counting.cells = torch.nn.ModuleList(Counting(each) for each in counting.layers)
    model.truncate = counting.truncate = 2
    x_BTI = torch.randn(B, T, 2, dtype=torch.float64).requires_grad_()
    one, other = (torch.autograd.grad(each(x_BTI).sum(), x_BTI)[0] for each in (model, counting))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)

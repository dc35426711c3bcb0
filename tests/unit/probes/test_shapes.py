"""Every probe on a task that writes after it has read: the steps that write follow and read the target."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from undertow import Batch, Task, Tokens
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.nn import SequenceModel, build_probes
from undertow.plugins.host import load_plugins
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import LstmOptions
from undertow_probes.gradient_profile import gradient_norms
from undertow_probes.loss import encoded, last_losses, last_supervised_step, mean_loss

READS, WRITES, SYMBOLS = 7, 4, 5


class Reverse(Task):
    """Read tokens, then write the last of them in reverse order."""

    shape = "seq2seq"
    inputs = Tokens(SYMBOLS)
    output_size = SYMBOLS
    length = READS
    writes = WRITES

    def __init__(self, shortest: int = WRITES) -> None:
        self.shortest = shortest

    def size(self, split):
        return None

    def batch(self, split, indices):
        generator = torch.Generator().manual_seed(5)
        x_BT = torch.randint(0, SYMBOLS, (len(indices), READS), generator=generator)
        return Batch(x_BT, x_BT.flip(1)[:, :WRITES])

    def supervised(self, batch):
        """The first sequence is written to the end, the others are shorter."""
        lengths_B = torch.full((len(batch.target), 1), self.shortest)
        lengths_B[0] = min(self.shortest + 1, WRITES)
        return torch.arange(WRITES) < lengths_B

    def loss(self, output, target):
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def cues(self, batch):
        return torch.full((len(batch.target), 1), READS - WRITES)


@pytest.fixture
def writer(make_subject):
    """A subject that writes, of one or several layers."""

    def writer(layers: int = 1, shortest: int = WRITES, truncate: int | None = None):
        task = Reverse(shortest)
        torch.manual_seed(0)
        cells = [LSTM(6, 6, LstmOptions(), READS) for _ in range(layers)]
        model = SequenceModel(
            cells, inputs=task.inputs, output_size=SYMBOLS, shape=task.shape, writes=WRITES, truncate=truncate
        )
        batch = task.batch("val", range(4))
        return replace(make_subject("lstm"), model=model.double(), task=task, batch=batch)

    return writer


@pytest.mark.parametrize(("shortest", "last"), [(WRITES, READS + WRITES - 1), (2, READS + 2)])
def test_the_last_step_is_one_that_is_written(shortest: int, last: int, writer) -> None:
    subject = writer(shortest=shortest)
    model, task, batch = subject.model, subject.task, subject.batch
    assert last_supervised_step(task, batch) == last
    y_TBH, _ = model.advance(encoded(model, task, batch), model.initial_state(4))
    losses_BU = task.loss(model(batch.input, batch.target), batch.target)
    mask_BU = task.supervised(batch)
    expected_B = (losses_BU * mask_BU)[:, last - READS]
    torch.testing.assert_close(last_losses(model, task, batch, y_TBH[last], last), expected_B)
    torch.testing.assert_close(mean_loss(model, task, batch), losses_BU[mask_BU].mean())


def test_the_gradient_reaches_from_what_was_written_into_what_was_read(writer) -> None:
    subject = writer()
    model, task, batch = subject.model, subject.task, subject.batch
    lags = [1, WRITES, WRITES + READS - 1]
    norms = gradient_norms(model, task, batch, lags)
    states_PLKB = 10 ** norms.log10(norms.states)
    x_TBI = encoded(model, task, batch).detach()
    for k, lag in enumerate(lags):
        with torch.no_grad():
            _, ((h_BH, c_BH),) = model.advance(x_TBI[:-lag], model.initial_state(4))
        state = (h_BH.requires_grad_(), c_BH.requires_grad_())
        y_TBH, _ = model.advance(x_TBI[-lag:], (state,))
        loss = functional.cross_entropy(model.decode(y_TBH[-1]), batch.target[:, -1], reduction="sum")
        for part, gradient_BH in enumerate(torch.autograd.grad(loss, state)):
            torch.testing.assert_close(states_PLKB[part, 0, k], gradient_BH.norm(dim=1))


def test_a_truncated_gradient_reaches_no_further(writer) -> None:
    lags = list(range(1, WRITES + READS))
    whole, cut = (gradient_norms(*_parts(writer(truncate=truncate)), lags) for truncate in (None, 5))
    whole_K, cut_K = (10 ** each.log10(each.states)[0, 0, :, 0] for each in (whole, cut))
    assert (cut.inputs[4:] == 0).all()
    assert (cut.inputs[3] > 0).all()  # the input of the first step after the cut
    torch.testing.assert_close(cut_K[:4], whole_K[:4])
    assert (cut_K[5:] == 0).all()
    assert (whole_K[5:] > 0).all()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("shortest", [WRITES, 2])
@pytest.mark.parametrize(
    "name", ["gradient-profile", "jacobian", "lyapunov", "saturation", "timescale", "memory", "weights", "cost"]
)
def test_probes_measure_it(name, shortest, layers, writer, is_recordable, leaves_no_trace) -> None:
    options = {"gate": "f"} if name == "timescale" else {}
    config = ExperimentConfig.model_validate(
        {"task": {"name": "adding"}, "cell": {"name": "lstm"}, "probes": [{"name": name, "options": options}]}
    )
    (probe,) = build_probes(LoadedExperiment(config, load_plugins())).values()
    subject = writer(layers, shortest)
    measurement = probe.measure(subject)
    is_recordable(measurement)
    curves = [curve for name, curve in measurement.curves.items() if name.endswith("by_lag")]
    assert all(curve.steps[-1] == last_supervised_step(subject.task, subject.batch) for curve in curves)
    leaves_no_trace(probe, subject)


def _parts(subject):
    return subject.model, subject.task, subject.batch

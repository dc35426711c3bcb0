"""Checks of a cell over a sequence: cut into pieces, by scan, in a batch, and with padding."""

import torch
from torch import Tensor

from undertow.api.contract import Cell
from undertow.nn.loop import Unroll, unroll, unroll_by_steps
from undertow.testing.asserts import expect_all_close, expect_close
from undertow.testing.cell._base import B, CellChecks, T, gradients_of, noise, reached_state


class SequenceChecks(CellChecks):
    """Values over time and over the batch."""

    def test_in_pieces_equals_whole(self) -> None:
        """Does a sequence run in pieces, with the state handed on, equal the whole, also in training mode?"""
        cell = self.build()
        for how, run in self.unrolls(cell).items():
            self._expect_pieces_equal_whole(cell.eval(), run, how)
            if _draws(cell.train(), run):
                self.remark = "evaluation mode only: it draws random numbers in training mode"
            else:
                self._expect_pieces_equal_whole(cell, run, f"{how}, in training mode")

    def _expect_pieces_equal_whole(self, cell: Cell, run: Unroll, how: str) -> None:
        x_TBI, start = noise(), reached_state(cell)
        whole_TBH, last = run(cell, x_TBI, start)
        for cuts in ([1], [3, 4], list(range(1, T))):
            state, pieces = start, []
            for piece in x_TBI.tensor_split(cuts):
                y_TBH, state = run(cell, piece, state)
                pieces.append(y_TBH)
            label = f"whole against cut before step {', '.join(map(str, cuts))}, {how}"
            remedy = "What a later step needs must be in the state, not in a buffer: the gradient profile needs that."
            expect_close(torch.cat(pieces), whole_TBH, f"output, {label}", remedy)
            for name, got, expected in zip(self.spec.state, state, last, strict=False):
                expect_close(got, expected, f"state part `{name}`, {label}", remedy)

    def test_scan_equals_steps(self) -> None:
        """Does `scan` give the output and the last state of `project` and `step` in a loop?"""
        cell, x_TBI = self.build(), noise()
        self.need_scan(cell)
        state = reached_state(cell)
        (y_TBH, last), (expected_TBH, expected) = unroll(cell, x_TBI, state), unroll_by_steps(cell, x_TBI, state)
        remedy = "`step`, `project` and `scan` must compute the same update."
        expect_close(y_TBH, expected_TBH, "output, by scan against step by step", remedy)
        for name, got, stepped in zip(self.spec.state, last, expected, strict=False):
            expect_close(got, stepped, f"state part `{name}`, by scan against step by step", remedy)

    def test_rows_are_independent(self) -> None:
        """Is the result for an example the same alone and in a batch?"""
        cell, x_TBI = self.build(), noise()
        state = reached_state(cell)
        for how, run in self.unrolls(cell).items():
            y_TBH, last = run(cell, x_TBI, state)
            for row in range(B):
                alone = slice(row, row + 1)
                one_TBH, one = run(cell, x_TBI[:, alone], tuple(part[alone] for part in state))
                label, remedy = f"example {row} alone against in a batch of {B}, {how}", "Never reduce over the batch."
                expect_close(one_TBH, y_TBH[:, alone], f"output, {label}", remedy)
                expect_all_close(one, [part[alone] for part in last], f"state part {{}}, {label}", remedy)

    def test_future_does_not_change_the_past(self) -> None:
        """Is every output independent of later inputs?"""
        cell, x_TBI = self.build(), noise()
        state = reached_state(cell)
        for how, run in self.unrolls(cell).items():
            y_TBH, _ = run(cell, x_TBI, state)
            for step in (1, T // 2, T - 1):
                changed_TBI = torch.cat([x_TBI[:step], x_TBI[step:] + 1])
                changed_TBH, _ = run(cell, changed_TBI, state)
                expect_close(
                    changed_TBH[:step],
                    y_TBH[:step],
                    f"outputs before step {step}, after the inputs from there on were changed, {how}",
                    "`project` and `scan` must not mix time steps backwards: no statistics over time, no reversal.",
                )

    def test_padding_does_not_matter(self) -> None:
        """In a batch of different lengths, are each example's output and gradient independent of its padding?"""
        cell = self.build()
        lengths = (T, T - 3, 2)
        seen_TB1 = torch.tensor([[[step < length] for length in lengths] for step in range(T)])
        weights_TBH = seen_TB1 * noise(T, B, cell.output_size, seed=3)
        x_TBI, state = noise(), reached_state(cell)
        names, parameters = [name for name, _ in cell.named_parameters()], list(cell.parameters())
        labels = ["output", "gradient of the input", *(f"gradient of `{name}`" for name in names)]
        for how, run in self.unrolls(cell).items():
            results: list[list[Tensor]] = []
            for padding_TBI in (x_TBI, torch.zeros_like(x_TBI), 100 * noise(seed=4)):
                padded_TBI = torch.where(seen_TB1, x_TBI, padding_TBI).requires_grad_()
                y_TBH, _ = run(cell, padded_TBI, state)
                of_x, *of_weights = gradients_of((y_TBH * weights_TBH).sum(), [padded_TBI, *parameters])
                results.append([y_TBH * seen_TB1, of_x, *of_weights])
            for padding, found in zip(("zeros", "noise"), results[1:], strict=True):
                for label, got, expected in zip(labels, found, results[0], strict=True):
                    expect_close(
                        got,
                        expected,
                        f"{label} up to each example's own end (after {', '.join(map(str, lengths))} steps), padded "
                        f"with {padding} against with other data, {how}",
                        "No step may read a later one, or distinguish padding from data.",
                    )


def _draws(cell: Cell, run: Unroll) -> bool:
    """Whether a run draws from torch's random state; the draws of one long run are not those of several short ones."""
    with torch.random.fork_rng(devices=()):
        before = torch.get_rng_state()
        run(cell, noise(), reached_state(cell))
        return not torch.equal(before, torch.get_rng_state())

"""The check of the gates that a cell shows to the probes."""

import math

from undertow.api.contract import GateKind
from undertow.nn.loop import trajectory
from undertow.testing.asserts import expect, expect_close, expect_finite, expect_shape
from undertow.testing.cell._base import B, CellChecks, T, noise, reached_state

_LIMITS: dict[GateKind, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "softplus": (0.0, math.inf),
}


class GateChecks(CellChecks):
    """`gates` and `keeps`."""

    def test_gates_are_in_range(self) -> None:
        """Have the gates the leading dimensions of their arguments, and values in the range of their kind?"""
        cell = self.build()
        for scale in (1.0, 20.0):
            x_TBI = scale * noise()
            z_TB, before = cell.project(x_TBI), trajectory(cell, x_TBI, reached_state(cell))
            gates = cell.gates(z_TB, before)
            keeper = cell.keeps.removeprefix("1 - ")
            expect(
                not keeper or gates.get(keeper, (None, ""))[1] == "sigmoid",
                f"cell.keeps is {cell.keeps!r}; expected one of its sigmoid gates, or '1 - ' and one: it has "
                f"{', '.join(name for name, (_, kind) in gates.items() if kind == 'sigmoid') or 'none'}.",
            )
            if not gates:
                self.skip("no gates")
            one_step = cell.gates(z_TB[0], tuple(part[0] for part in before))
            expect(
                one_step.keys() == gates.keys(),
                f"gates of all steps at once are {[*gates]}, of one step {[*one_step]}.",
            )
            for name, (values, kind) in gates.items():
                expect(kind in _LIMITS, f"gate `{name}` is of kind {kind!r}, expected one of {', '.join(_LIMITS)}.")
                low, high = _LIMITS[kind]
                expect_shape(values, (T, B, *values.shape[2:]), f"gate `{name}` of all steps at once")
                expect_finite(values, f"gate `{name}`", "The saturation probe reads these activations.")
                least, most = float(values.detach().min()), float(values.detach().max())
                expect(
                    low <= least and most <= high,
                    f"gate `{name}` has values from {least:.4g} to {most:.4g}; the range of a {kind} is {low:g} to "
                    f"{high:g}. Return the activated values, or name their real kind.",
                )
                remedy = "`gates` takes any leading dimensions: split along the last one."
                expect_close(one_step[name][0], values[0], f"gate `{name}`, one step against all at once", remedy)

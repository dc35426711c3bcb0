"""Checks of a cell that is saved, copied and pickled."""

import copy
import io
import pickle

import torch
from torch import Tensor

from undertow.api.contract import Cell
from undertow.testing.asserts import expect, expect_all_close, expect_close
from undertow.testing.cell._base import CellChecks, noise, reached_state


class SavingChecks(CellChecks):
    """`state_dict`, `copy.deepcopy` and pickle."""

    def test_state_dict_holds_all_of_it(self) -> None:
        """Does a cell that loads the `state_dict` of another from a file compute the same?"""
        cell = self.build()
        saved = io.BytesIO()
        torch.save(cell.state_dict(), saved)
        saved.seek(0)
        twin = self.build(seed=9)
        twin.load_state_dict(torch.load(saved, weights_only=True))
        remedy = "Keep drawn numbers in parameters or buffers: a plain tensor is not saved, and not moved to a GPU."
        self._expect_equal_and_independent(cell, twin, "a cell and one that loaded its state_dict", remedy)

    def test_no_weight_is_saved_twice(self) -> None:
        """Is every tensor in the `state_dict` once?"""
        seen: dict[int, str] = {}
        for name, value in self.build().state_dict().items():
            if isinstance(value, Tensor) and value.numel():
                other = seen.setdefault(value.data_ptr(), name)
                expect(other == name, f"`{other}` and `{name}` of the state_dict are one tensor. Register it once.")

    def test_copy_is_independent_and_equal(self) -> None:
        """Does `copy.deepcopy` give a cell that computes the same and has its own weights?"""
        cell = self.build()
        twin = copy.deepcopy(cell)
        remedy = "Hold no modules or tensors outside of the cell."
        self._expect_equal_and_independent(cell, twin, "a cell and its deep copy", remedy)

    def test_pickle_is_equal(self) -> None:
        """Does a pickled and unpickled cell compute the same?"""
        cell = self.build()
        try:
            twin = pickle.loads(pickle.dumps(cell))
        except Exception as error:
            raise AssertionError(
                f"it cannot be pickled: {type(error).__name__}: {error}. Keep lambdas and closures out of its "
                "attributes: cells are sent from one process to another."
            ) from error
        remedy = "Compare its attributes before and after."
        self._expect_equal_and_independent(cell, twin, "a cell and its unpickled copy", remedy)

    def _expect_equal_and_independent(self, cell: Cell, twin: Cell, label: str, remedy: str) -> None:
        """Fail unless both compute the same, and the first still does after the second's weights were set to 0."""
        x_TBI, state = noise(), reached_state(cell)
        with torch.no_grad():
            expected = {how: run(cell, x_TBI, state) for how, run in self.unrolls(cell).items()}
            for how, run in self.unrolls(twin).items():
                y_TBH, last = run(twin, x_TBI, state)
                expect_close(y_TBH, expected[how][0], f"output of {label}, {how}", remedy)
                expect_all_close(last, expected[how][1], f"state part {{}} of {label}, {how}", remedy)
            for parameter in twin.parameters():
                parameter.zero_()
            for how, run in self.unrolls(cell).items():
                expect_close(
                    run(cell, x_TBI, state)[0],
                    expected[how][0],
                    f"output of {label}, before and after the second's weights were set to 0, {how}",
                    "They share memory. " + remedy,
                )

"""The contract of a callback, check by check, in small runs by the platform's own Trainer (`small_run`)."""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from undertow._system.names import check_name
from undertow.api.spec import CallbackSpec
from undertow.config.schema import CallbackConfig
from undertow.errors import UndertowError
from undertow.testing.asserts import expect
from undertow.testing.conformance import Conformance
from undertow.testing.networks import NETWORKS
from undertow.testing.small_run import Killed, Rows, SmallRun, small_run

_OWN = ("train/", "val/", "test/", "task/", "undertow")
"""How names begin that a run records itself."""

_RECORDED = ("train/loss", "train/lr", "train/steps", "val/loss", "task/")
_RESUME = (
    "All that it keeps from step to step is in `state_dict`, and files are written from that state, not appended to: a "
    "resumed run repeats the steps since its last checkpoint."
)


class CallbackConformance(Conformance):
    """What every callback must do.

    Attributes:
        steps: Training steps of the run in which it must log and write all that its spec declares.
    """

    kind = "callback"
    steps: int = 120

    @property
    def spec(self) -> CallbackSpec:
        """The spec of the callback."""
        return cast(CallbackSpec, self.entry.spec)

    # --- what it changes ---------------------------------------------------------------------------------------------

    def test_training_is_what_its_spec_says(self) -> None:
        """Unless its spec says `changes_training`: are losses, weights and random numbers the same without it?"""
        if self.spec.changes_training:
            self.skip("its spec says `changes_training`")
        with_it, without = self._run(), self._run(use=False)
        remedy = "Leave weights, gradients and random numbers alone, or write changes_training=True into its spec."
        for name, value in without.weights.items():
            expect(torch.equal(with_it.weights[name], value), f"`{name}` is different after training. {remedy}")
        one, other = (_own_rows(run) for run in (with_it, without))
        changed = next((f"{a[0]} at step {a[2]}" for a, b in zip(one, other, strict=False) if a != b), "")
        expect(not changed and len(one) == len(other), f"{changed or 'the number of steps'} is different. {remedy}")
        same = torch.equal(with_it.random_state, without.random_state)
        expect(same, f"torch's random state is different after training. {remedy}")

    # --- what it leaves ----------------------------------------------------------------------------------------------

    def test_logs_what_its_spec_declares(self) -> None:
        """Does it log each number that its spec declares in `measures`, and no other?"""
        declared = {name: re.compile(_pattern(name)) for name in self.spec.measures}
        logged = {name for name, _, _ in self._run().rows if not name.startswith(_RECORDED)}
        unknown = sorted(name for name in logged if not any(each.fullmatch(name) for each in declared.values()))
        expect(not unknown, f"it logs {', '.join(unknown)}, which its spec does not declare. Add it to `measures`.")
        absent = [name for name, each in declared.items() if not any(map(each.fullmatch, logged))]
        expect(
            not absent,
            f"in {self.steps} steps it does not log {', '.join(absent)}, which its spec declares. Set the kit's "
            "`steps` if it logs later.",
        )

    def test_names_are_legal_and_values_finite(self) -> None:
        """Does MLflow accept every name that it logs, is none of them a run's own, and is every value finite?"""
        run = self._run()
        names = {name for name, _, _ in run.rows if not name.startswith(_RECORDED)}
        for name in sorted(names):
            try:
                check_name(name)
            except ValueError as error:
                raise AssertionError(f"{error}. Choose another name.") from error
            own = next((start for start in _OWN if name.startswith(start)), None)
            expect(own is None, f"it logs `{name}`; names that begin with `{own}` are recorded by the run itself.")
        expect(not run.refused, f"{'; '.join(run.refused[:3])}. Log finite numbers only.")

    def test_writes_the_files_its_spec_declares(self) -> None:
        """Does it write each file that its spec declares into the run's folder, and no other?"""
        written, declared = set(self._run().files), set(self.spec.files)
        extra, absent = sorted(written - declared), sorted(declared - written)
        expect(not extra, f"it writes {', '.join(extra)}, which its spec does not declare. Add it to `files`.")
        expect(
            not absent,
            f"in a run of {self.steps} steps it does not write {', '.join(absent)}, which its spec declares. "
            "The folder is `trainer.default_root_dir`.",
        )

    # --- how it goes on ----------------------------------------------------------------------------------------------

    def test_killed_run_resumes_bitwise(self) -> None:
        """Has a run that dies and is resumed the same weights, rows, state and files at its end, to the last bit?"""
        whole = self._run()
        every, journal = max(2, self.steps // 8), Rows()
        with _folder() as folder:
            try:
                self._train(folder, journal, killed_after=self.steps // 2 + 1, checkpoint={"every": every})
            except Killed:
                pass
            else:
                self.skip("it ends the run before half of its steps")
            try:
                resumed = self._train(folder, journal, checkpoint={"every": every})
            except Exception as error:
                raise AssertionError(f"a resumed run fails with {type(error).__name__}: {error}. {_RESUME}") from error
        for name, value in whole.weights.items():
            expect(torch.equal(value, resumed.weights[name]), f"`{name}` is different after resuming. {_RESUME}")
        one, other = ({(name, step): value for name, value, step in run.rows} for run in (whole, resumed))
        for (name, step), number in one.items():
            got = other.get((name, step))
            expect(got == number, f"`{name}` at step {step} is {got} after resuming, and {number} without. {_RESUME}")
        expect(len(whole.rows) == len(resumed.rows), f"the resumed run records other rows. {_RESUME}")
        states = [_flat(run.checkpoint["callbacks"].get(f"undertow/{self.name}")) for run in (whole, resumed)]
        for key in sorted(set(states[0]) | set(states[1])):
            same = _same(states[0].get(key), states[1].get(key))
            expect(same, f"its state at the end differs after resuming, at {key or 'the top'}. {_RESUME}")
        for name, content in whole.files.items():
            expect(resumed.files.get(name) == content, f"the file {name} has another content after resuming. {_RESUME}")

    def test_runs_with_every_kind_of_network(self) -> None:
        """Does it run with complex and integer states, several layers, 64 bits, accumulated batches, a single step?"""
        kinds: list[tuple[str, dict[str, Any]]] = [(network, {}) for network in NETWORKS]
        first = next(iter(NETWORKS))
        kinds += [(first, {"precision": "64-true"}), (first, {"accumulate": 2}), (first, {"max_steps": 1})]
        for network, keys in kinds:
            label = ", ".join([network, *(f"train.{key}={value}" for key, value in keys.items())])
            with _folder() as folder:
                try:
                    self._train(folder, Rows(), network=network, **{"max_steps": 6, "val_every": 3, **keys})
                except Exception as error:
                    raise AssertionError(f"{label}: the run fails with {type(error).__name__}: {error}.") from error

    # -----------------------------------------------------------------------------------------------------------------

    def _run(self, *, use: bool = True) -> SmallRun:
        """The run of all steps with the callback, or without it."""
        cached: dict[bool, SmallRun] = self.__dict__.setdefault("_runs", {})
        if use not in cached:
            with _folder() as folder:
                try:
                    cached[use] = self._train(folder, Rows(), use=use)
                except UndertowError as error:
                    raise AssertionError(f"a run with it fails: {error}.") from error
        return cached[use]

    def _train(self, folder: Path, journal: Rows, *, use: bool = True, **keys: Any) -> SmallRun:
        entry = CallbackConfig(name=self.name, options=self.made_options().model_dump())
        keys = {"max_steps": self.steps, "val_every": max(1, self.steps // 3), **keys}
        return small_run(self.registry, [entry] if use else [], folder, journal=journal, **keys)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="undertow-") as folder:
        yield Path(folder)


def _own_rows(run: SmallRun) -> list[tuple[str, float, int]]:
    return [row for row in run.rows if row[0].startswith(_RECORDED)]


def _pattern(name: str) -> str:
    """A declared name as a regular expression: ``<…>`` stands for anything."""
    return ".+".join(re.escape(part) for part in re.split(r"<[^<>]*>", name))


def _flat(state: Any, at: str = "") -> dict[str, Any]:
    """Every leaf of a state, by its place."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(state, Mapping):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {at: state}
    return {place: leaf for key, value in items for place, leaf in _flat(value, f"{at}/{key}").items()}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)

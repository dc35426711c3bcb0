"""Replicates of one experiment: runs that differ by their seed alone, side by side in this process where they can be.

results, failures = run_replicates(loaded, 8, home=home_folder())
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.stopping import StopRequest
from undertow.config.load import LoadedExperiment
from undertow.config.packing import Forbidden, forbidding
from undertow.errors import Interrupted, RequestError, UndertowError
from undertow.runs.experiment import RunResult, create_folder, run_result, start
from undertow.runs.pack import Member, train_and_record_pack
from undertow.tracking import RunFolder, start_shipper

if TYPE_CHECKING:
    from undertow.train.devices import Devices

_SEEDS = 2**32
"""Seeds are below."""

OnStart = Callable[[RunFolder, "Devices"], None]


def run_replicates(
    loaded: LoadedExperiment,
    count: int,
    *,
    home: Path,
    progress: bool = True,
    on_start: OnStart | None = None,
    note: Callable[[str], None] = print,
) -> tuple[list[RunResult], list[str]]:
    """Run an experiment with `count` seeds, from its own seed on, each in a run folder of its own.

    Args:
        loaded: The experiment.
        count: How many replicates.
        home: Where run folders and the default store are.
        progress: Show the progress on standard error.
        on_start: Called with each new folder and the devices before its first step.
        note: Shows a line to the user.

    Returns:
        The runs that have finished, and a line for each that has failed.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: The runs were stopped; their state is saved, and each of them can be resumed.
    """
    if count < 1:
        raise RequestError(f"--seeds {count}: how many replicates to run, 1 or more")
    if loaded.config.seed + count > _SEEDS:
        raise RequestError(f"--seeds {count}: with seed={loaded.config.seed} the last one is not below {_SEEDS}")
    replicates = [_with_seed(loaded, loaded.config.seed + place) for place in range(count)]
    if (forbidden := _forbidden(loaded)) is not None:
        note(f"the replicates are trained one after another: {forbidden}")
        return _one_after_another(replicates, home, progress, on_start)
    return _side_by_side(replicates, home, progress, on_start)


def _forbidden(loaded: LoadedExperiment) -> Forbidden | None:
    return forbidding(loaded.config, optimizers=loaded.registry.optimizers, devices=_devices(loaded))


def _with_seed(loaded: LoadedExperiment, seed: int) -> LoadedExperiment:
    """The same experiment with another seed, which is part of its name."""
    track = loaded.config.track
    name = None if track.run_name is None else f"{track.run_name}-s{seed}"
    changed = {"seed": seed, "track": track.model_copy(update={"run_name": name})}
    return replace(loaded, config=loaded.config.model_copy(update=changed))


def _devices(loaded: LoadedExperiment) -> int:
    from undertow.train.devices import resolve_devices

    return resolve_devices(loaded.config.train).count


def _one_after_another(
    replicates: Sequence[LoadedExperiment], home: Path, progress: bool, on_start: OnStart | None
) -> tuple[list[RunResult], list[str]]:
    results, failures = [], []
    for loaded in replicates:
        try:
            results.append(start(loaded, home=home, progress=progress, on_start=on_start))
        except (RequestError, Interrupted):
            raise
        except UndertowError as error:
            failures.append(str(error))
    return results, failures


def _side_by_side(
    replicates: Sequence[LoadedExperiment], home: Path, progress: bool, on_start: OnStart | None
) -> tuple[list[RunResult], list[str]]:
    from undertow.train.build import build
    from undertow.train.runtime import denormals_flushed

    stop = StopRequest()
    flush = replicates[0].config.train.flush_denormals
    with stop.listening(), denormals_flushed(flush), ExitStack() as locks:
        all_built = [build(loaded) for loaded in replicates]
        members = []
        for built in all_built:
            folder = create_folder(built, home)
            locks.callback(folder.release)
            members.append(Member(folder, built))
            if on_start:
                on_start(folder, built.devices)
        shipper = start_shipper(home)
        ends = train_and_record_pack(members, stop, progress=progress)
        results, failures, stopped = [], [], []
        for member, end in zip(members, ends, strict=True):
            shipped = shipper.wait(member.folder)
            name = member.folder.path.name
            if end.status == "FINISHED":
                results.append(run_result(member.folder, member.built.loaded.config, end, shipped=shipped))
            elif end.status == "FAILED":
                failures.append(f"{name}: {end.reason}")
            else:
                stopped.append(f"{name}: {end.reason}. Continue with: undertow run --resume {member.folder.path}")
    if stopped:
        raise Interrupted("\n".join([*stopped, *failures]))
    return results, failures

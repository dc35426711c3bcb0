"""One experiment from its configuration to a finished, tracked run.

    result = undertow.run("experiments/smoke/digits.yaml", set=["cell.name=gru", "task.length=128"])
    result.metrics["gradient/input/half_life"]     # in time steps
    result.curves["gradient/input/by_lag"]         # lags, and log10 of the norm there, relative to lag 1

A wrong request is refused before anything is written. After that everything is in a run folder. Whatever happens to the
process or to the tracking server, the record of the run is shipped and its status is true in the end.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow._system.atomic import sync_tree, write_atomically
from undertow._system.stopping import StopRequest
from undertow._system.tracebacks import append_traceback
from undertow.config.load import START, LoadedExperiment, dump, flatten, load_experiment, load_mapping, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import Interrupted, RequestError, UndertowError
from undertow.plugins.frozen import keep_copies
from undertow.plugins.neighbours import with_neighbours
from undertow.runs.code import copy_plugins, note_changed_originals, record_code, require_recorded_code, with_copies
from undertow.runs.longer import begin_with, require_more_steps
from undertow.runs.process import execute
from undertow.runs.ranks import end_ranks, execute_on_ranks
from undertow.runs.result import Result, error_name
from undertow.tracking import Outbox, Provenance, RunFolder, home_folder, provenance, start_shipper

if TYPE_CHECKING:
    from undertow.train.build import Built
    from undertow.train.devices import Devices


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        name: Its factors, such as ``lstm-T256-s0``.
        folder: Where its configuration, outbox and checkpoints are.
        run_id: Its id in MLflow; None while the store has not been reached.
        shipped: Whether the whole record has reached the store.
        steps: Training steps done.
        metrics: The latest value of every scalar, by metric name.
        curves: The last curves, by metric name: steps of the axis, and values.
        config: Its resolved configuration.
    """

    name: str
    folder: Path
    run_id: str | None
    shipped: bool
    steps: int
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[list[int], list[float]]]
    config: ExperimentConfig


def run(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    set: Sequence[str] = (),
    plugins: Sequence[str | os.PathLike[str]] = (),
    home: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> RunResult:
    """Run one experiment.

    Args:
        config: A YAML file, or the same as a mapping.
        set: Overrides, ``"cell.hidden_size=64"``.
        plugins: Python files with scratch plugins.
        home: Where run folders and the default store are; `UNDERTOW_HOME`, or ``runs``, when None.
        progress: Show the progress on standard error.

    Returns:
        The finished run, with its last metrics and curves.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1; the state is saved, and `resume` continues from it.
        UndertowError: The work failed.
    """
    files = [Path(plugin) for plugin in plugins]
    if isinstance(config, Mapping):
        loaded = load_mapping(config, set, files)
    else:
        loaded = load_experiment(Path(config), set, files)
    return start(loaded, home=Path(home) if home else home_folder(), progress=progress)


def start(
    loaded: LoadedExperiment,
    *,
    home: Path,
    progress: bool = True,
    on_start: Callable[[RunFolder, "Devices"], None] | None = None,
) -> RunResult:
    """Run a loaded experiment in a new run folder; result and errors as for `run`.

    Args:
        loaded: The experiment.
        home: Where run folders and the default store are.
        progress: Show the progress on standard error.
        on_start: Called with the new folder and the devices before the first step.
    """
    stop = StopRequest()
    with stop.listening(), _built(loaded) as built:
        folder = create_folder(built, home)
        try:
            if on_start:
                on_start(folder, built.devices)
            return _train_and_ship(folder, built, stop, progress)
        finally:
            folder.release()


def create_folder(built: "Built", home: Path, origin: RunFolder | None = None) -> RunFolder:
    """Create the folder of a new run, with its record started and all that it was made from; its lock is held.

    Args:
        built: What is trained.
        home: Where the folder is made.
        origin: The run that it trains further.
    """
    loaded, config = built.loaded, built.loaded.config
    facts = built.facts()
    made_from = provenance(loaded.registry.versions(), config.seed, facts)

    def prepare(folder: RunFolder) -> None:
        copy_plugins(folder, loaded)
        record_code(folder, loaded, facts["undertow.dataset"])
        start_record(folder, config, made_from.tags)
        keep_sources(folder, config, made_from)
        if config.train.start_from is not None:
            shutil.copyfile(config.train.start_from, folder.path / START)
            sync_tree(folder.path / START, folder.path)
        if origin is not None:
            begin_with(folder, origin)

    return RunFolder.create(
        home,
        config.run_name,
        experiment=config.track.experiment,
        uri=origin.identity.uri if origin else config.track.uri,  # what is stored of it has no password
        config_yaml=dump(with_copies(without_password(config))),
        prepare=prepare,
    )


def resume(
    reference: str,
    *,
    set: Sequence[str] = (),
    home: str | os.PathLike[str] | None = None,
    progress: bool = True,
    allow_changed_code: bool = False,
    on_start: Callable[[RunFolder, "Devices"], None] | None = None,
) -> RunResult:
    """Continue a run that was stopped, from its last checkpoint, in the same folder and the same MLflow run.

    The run continues with its copies of scratch plugins, even if the original files have changed since.

    With a larger `train.max_steps` it is trained further: in a new folder and a new MLflow run, which begins with the
    state and the rows of this one and is tagged ``undertow.continues``. A learning rate that depends on
    `train.max_steps` is that of the longer training from there on.

    Args:
        reference: A run folder, its name, the run's name if only one has it, or an MLflow run id.
        set: ``"train.max_steps=N"``, more than before; no other key.
        home: As for `run`.
        progress: As for `run`.
        allow_changed_code: Continue even if the version of a plugin or the data is not that of the start; the tag
            ``undertow.changed_code`` records the difference.
        on_start: As for `start`.

    Returns:
        As for `run`.

    Raises:
        RequestError: There is no such run, it has finished, it is still running, its code or data have changed, or
            `set` has something else.
    """
    folder = RunFolder.find(Path(home) if home else home_folder(), reference)
    if not set and folder.result.exists() and Result.read(folder.result).status == "FINISHED":
        raise RequestError(
            f"{folder.path.name} has finished: there is nothing left to do. "
            "To train it further: --set train.max_steps=…, more than before"
        )
    folder.acquire()
    stop = StopRequest()
    longer: RunFolder | None = None
    try:
        end_ranks(folder)
        note_changed_originals(folder)
        if set:
            require_more_steps(folder, set)
        with stop.listening(), _built(load_experiment(folder.config, set, kept=folder.path / "plugins")) as built:
            dataset = built.facts()["undertow.dataset"]
            changes = require_recorded_code(folder, built.loaded, dataset, allow_changed=allow_changed_code)
            if set:
                longer = create_folder(built, folder.path.parent, origin=folder)
            trained = longer or folder
            with Outbox(trained.outbox) as outbox:
                outbox.status("RUNNING")
                outbox.tags(changes)
            if on_start:
                on_start(trained, built.devices)
            return _train_and_ship(trained, built, stop, progress)
    finally:
        folder.release()
        if longer:
            longer.release()


def start_record(
    folder: RunFolder, config: ExperimentConfig, tags: Mapping[str, str], params: Mapping[str, str] | None = None
) -> None:
    """Record everything that is known before the first step.

    Args:
        folder: The folder of the new run.
        config: Resolved.
        tags: The provenance of the run, and other tags.
        params: Parameters in addition to those of the configuration.
    """
    with Outbox(folder.outbox) as outbox:
        outbox.start(
            folder.identity,
            params={**flatten(without_password(config)), **(params or {})},
            tags={**tags, **config.track.tags},
            description="\n\n".join(filter(None, (f"{config.summary}.", config.question))),
        )
        outbox.artifact(folder.config.name)


def start_is_recorded(folder: RunFolder) -> bool:
    """Whether the record of a run has all that `start_record` writes; its process may have been killed in there."""
    with folder.outbox.open("rb") if folder.outbox.exists() else nullcontext(()) as lines:
        return any(
            f'"path":"{folder.config.name}"'.encode() in line for line in lines
        )  # the last record that it writes


def keep_sources(folder: RunFolder, config: ExperimentConfig, made_from: Provenance) -> None:
    """Keep in the folder and record what no commit and no distribution holds: uncommitted changes, scratch plugins."""
    with Outbox(folder.outbox) as outbox:
        if made_from.diff is not None:
            write_atomically(folder.path / "uncommitted.diff", made_from.diff)
            outbox.artifact("uncommitted.diff")
        plugins = folder.path / "plugins"
        for copy in with_neighbours(keep_copies(config.plugins.files, plugins)):
            outbox.artifact(copy, Path("plugins", copy.parent.relative_to(plugins)).as_posix())


def train_and_record(folder: RunFolder, built: "Built", stop: StopRequest, *, progress: bool) -> Result:
    """Train, record the artifacts that are configured, and record the final status. The shipper is another process.

    Args:
        folder: The run's folder, with its record started.
        built: What to train, and where.
        stop: Set to end after the current step.
        progress: Show the progress on standard error.

    Returns:
        How the run ended; the same is in the folder.
    """
    if built.devices.count == 1:
        result = execute(folder, built, stop, progress=progress)
    else:
        result = execute_on_ranks(folder, built.devices, stop, progress=progress)
    return record_end(folder, built.loaded, result)


def record_end(folder: RunFolder, loaded: LoadedExperiment, result: Result) -> Result:
    """Record how a run ended: the artifacts that are configured, its final status, and the result in its folder.

    Returns:
        The result that is recorded: a failed one if the model cannot be saved.
    """
    try:
        with Outbox(folder.outbox) as outbox:
            if result.status == "FINISHED":
                result = _log_artifacts(outbox, folder, loaded, result)
            if result.reason:
                outbox.tags({"undertow.end": result.reason})
            outbox.status(result.status)
    finally:
        result.write(folder.result)
    return result


@contextmanager
def _built(loaded: LoadedExperiment) -> Iterator["Built"]:
    """Build an experiment; denormals are flushed inside the block if it is configured."""
    from undertow.train.build import build
    from undertow.train.runtime import denormals_flushed

    with denormals_flushed(loaded.config.train.flush_denormals):
        yield build(loaded)


def _train_and_ship(folder: RunFolder, built: "Built", stop: StopRequest, progress: bool) -> RunResult:
    """Train, and wait until the record is shipped."""
    shipper = start_shipper(folder.path.parent)
    result = train_and_record(folder, built, stop, progress=progress)
    shipped = shipper.wait(folder)
    if result.status == "KILLED":
        raise Interrupted(f"{folder.path.name}: {result.reason}. Continue with: undertow run --resume {folder.path}")
    if result.status == "FAILED":
        raise UndertowError(f"{folder.path.name}: {result.reason}")
    return run_result(folder, built.loaded.config, result, shipped=shipped)


def run_result(folder: RunFolder, config: ExperimentConfig, result: Result, *, shipped: bool) -> RunResult:
    """What the caller gets of a run that has finished."""
    return RunResult(
        name=config.run_name,
        folder=folder.path,
        run_id=folder.progress().run_id,
        shipped=shipped,
        steps=result.steps,
        metrics=result.metrics,
        curves=result.curves,
        config=config,
    )


def _log_artifacts(outbox: Outbox, folder: RunFolder, loaded: LoadedExperiment, result: Result) -> Result:
    """Record the checkpoint and the model if configured; returns a failed result if the model cannot be saved."""
    track = loaded.config.track
    if track.log_checkpoint:
        outbox.artifact("checkpoints/best.ckpt", "checkpoints")
    if track.log_model:
        from undertow.runs.export import save_model

        try:
            save_model(loaded, folder.checkpoints, folder.path / "model")
        except Exception as error:  # noqa: BLE001  (a cell that cannot be exported must not cost the run its record)
            path = folder.path / "traceback.txt"
            append_traceback(path, error, "the model cannot be saved")
            reason = f"trained, but its model cannot be saved: {type(error).__name__}: {error} (see {path})"
            return replace(result, status="FAILED", reason=reason, error=error_name(error))
        outbox.artifact("model", "model")
    return result

"""One experiment from its configuration to a finished, tracked run.

    result = undertow.run("experiments/smoke/digits.yaml", set=["cell.name=gru", "task.length=128"])
    result.metrics["gradient/h/half_life"]     # in time steps
    result.curves["gradient/h/by_lag"]         # lags, and log10 of the gradient's norm there

A wrong request is refused before anything is written. After that a run folder holds everything, and whatever happens
to the process or to the tracking server, the run's record is shipped and its status is true in the end.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow._system.stopping import StopRequest
from undertow.config.load import LoadedExperiment, dump, flatten, load_experiment, load_mapping, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import Interrupted, RequestError, UndertowError
from undertow.plugins.registry import Registry
from undertow.runs.process import Result, execute
from undertow.tracking import Outbox, Provenance, RunFolder, home_folder, provenance, start_shipper

if TYPE_CHECKING:
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
    """

    name: str
    folder: Path
    run_id: str | None
    shipped: bool
    steps: int
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[list[int], list[float]]]


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
        progress: Show how far it is, on standard error.

    Returns:
        What the run came to.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C or SIGTERM; the state is saved, and `resume` goes on from it.
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
    """Run a loaded experiment in a new run folder; result and errors as `run`.

    Args:
        loaded: What to run.
        home: Where run folders and the default store are.
        progress: Show how far it is.
        on_start: Called once the request has proven right, with the new folder and the devices.
    """
    from undertow.train.runtime import denormals_flushed

    config, registry = loaded.config, loaded.registry
    stop = StopRequest()
    with stop.listening(), denormals_flushed(config.train.flush_denormals):
        devices, facts = check_buildable(config, registry)
        folder = RunFolder.create(
            home,
            config.run_name,
            experiment=config.track.experiment,
            uri=config.track.uri,
            config_yaml=dump(without_password(config)),
        )
        try:
            made_from = provenance(registry.versions(), config.seed, facts)
            start_record(folder, config, made_from.tags)
            keep_sources(folder, config, made_from)
            if on_start:
                on_start(folder, devices)
            return _work(folder, loaded, devices, stop, progress)
        finally:
            folder.release()


def resume(
    reference: str,
    *,
    home: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_start: Callable[[RunFolder, "Devices"], None] | None = None,
) -> RunResult:
    """Go on with a run that was stopped, from its last checkpoint, in the same folder and the same MLflow run.

    Args:
        reference: A run folder, its name, the run's name if only one has it, or an MLflow run id.
        home: As in `run`.
        progress: As in `run`.
        on_start: As in `start`.

    Returns:
        What the run came to.

    Raises:
        RequestError: No such run, it has finished, or it is still running.
    """
    from undertow.train.runtime import denormals_flushed

    folder = RunFolder.find(Path(home) if home else home_folder(), reference)
    if folder.result.exists() and Result.read(folder.result).status == "FINISHED":
        raise RequestError(f"{folder.path.name} has finished: there is nothing to go on with")
    folder.acquire()
    stop = StopRequest()
    try:
        loaded = load_experiment(folder.config, kept=folder.path / "plugins")
        with stop.listening(), denormals_flushed(loaded.config.train.flush_denormals):
            devices, _ = check_buildable(loaded.config, loaded.registry)
            with Outbox(folder.outbox) as outbox:
                outbox.status("RUNNING")
            if on_start:
                on_start(folder, devices)
            return _work(folder, loaded, devices, stop, progress)
    finally:
        folder.release()


def check_buildable(config: ExperimentConfig, registry: Registry) -> tuple["Devices", dict[str, str]]:
    """Build everything once, so that what is wrong is told before anything is written; facts for provenance.

    Raises:
        RequestError: What is asked for cannot be had on this machine.
    """
    import torch

    from undertow.nn import build_model, build_other_lengths, build_probes, build_task
    from undertow.train.data import digest
    from undertow.train.devices import resolve_devices

    devices = resolve_devices(config.train)
    task = build_task(config, registry)
    build_model(config, registry, task)
    build_other_lengths(config, registry, task)
    build_probes(config, registry)
    return devices, {
        "undertow.torch": str(torch.__version__),
        "undertow.cpu_threads": str(config.train.threads or torch.get_num_threads()),
        "undertow.cuda": torch.version.cuda or "none",
        "undertow.device": devices.name,
        "undertow.devices": str(devices.count),
        "undertow.dataset": digest(task),
    }


def start_record(
    folder: RunFolder, config: ExperimentConfig, tags: Mapping[str, str], params: Mapping[str, str] | None = None
) -> None:
    """Write down everything that is known before the first step.

    Args:
        folder: The new run's.
        config: Resolved.
        tags: What it is made from, and more.
        params: Parameters beside those of the configuration.
    """
    with Outbox(folder.outbox) as outbox:
        outbox.start(
            folder.identity,
            params={**flatten(without_password(config)), **(params or {})},
            tags={**tags, **config.track.tags},
            description=config.question,
        )
        outbox.artifact("config.yaml")


def keep_sources(folder: RunFolder, config: ExperimentConfig, made_from: Provenance) -> None:
    """Keep with the run what no commit and no distribution holds: uncommitted changes and scratch plugins."""
    with Outbox(folder.outbox) as outbox:
        if made_from.diff is not None:
            (folder.path / "uncommitted.diff").write_text(made_from.diff)
            outbox.artifact("uncommitted.diff")
        for file in config.plugins.files:
            (folder.path / "plugins").mkdir(exist_ok=True)
            copy = shutil.copy2(file, folder.path / "plugins")
            outbox.artifact(copy, "plugins")


def train_and_record(
    folder: RunFolder,
    config: ExperimentConfig,
    registry: Registry,
    devices: "Devices",
    stop: StopRequest,
    *,
    progress: bool,
) -> Result:
    """Train, hand in what was asked for, and close the record with the true status; shipping is another's work.

    Args:
        folder: The run's, with its record open.
        config: Resolved.
        registry: The plugins.
        devices: From `check_buildable`.
        stop: Set to end after the current step.
        progress: Show how far it is.

    Returns:
        How it ended; the same stands in the folder.
    """
    if devices.count == 1:
        result = execute(folder, config, registry, devices, stop, progress=progress)
    else:
        result = _execute_on_ranks(folder, devices, stop, progress=progress)
    with Outbox(folder.outbox) as outbox:
        if result.status == "FINISHED":
            result = _hand_in(outbox, folder, config, registry, result)
        if result.reason:
            outbox.tags({"undertow.end": result.reason})
        outbox.status(result.status)
    result.write(folder.result)
    return result


def _work(
    folder: RunFolder, loaded: LoadedExperiment, devices: "Devices", stop: StopRequest, progress: bool
) -> RunResult:
    """Carry the run out, and see its record shipped."""
    shipper = start_shipper(folder.path.parent)
    result = train_and_record(folder, loaded.config, loaded.registry, devices, stop, progress=progress)
    shipped = shipper.wait(folder)
    if result.status == "KILLED":
        raise Interrupted(f"{folder.path.name}: {result.reason}. Go on with: undertow run --resume {folder.path}")
    if result.status == "FAILED":
        raise UndertowError(f"{folder.path.name}: {result.reason}")
    return RunResult(
        name=loaded.config.run_name,
        folder=folder.path,
        run_id=folder.progress().run_id,
        shipped=shipped,
        steps=result.steps,
        metrics=result.metrics,
        curves=result.curves,
    )


def _hand_in(outbox: Outbox, folder: RunFolder, config: ExperimentConfig, registry: Registry, result: Result) -> Result:
    """Record what was asked for to be stored with the run; the result, or a failed one if the model cannot be saved."""
    if config.track.log_checkpoint:
        outbox.artifact("checkpoints/best.ckpt", "checkpoints")
    if config.track.log_model:
        from undertow.runs.export import save_model

        try:
            save_model(config, registry, folder.checkpoints, folder.path / "model")
        except Exception as error:  # noqa: BLE001  (a cell that cannot be exported must not cost the run its record)
            reason = f"trained, but its model cannot be saved: {type(error).__name__}: {error}"
            return replace(result, status="FAILED", reason=reason)
        outbox.artifact("model", "model")
    return result


def _execute_on_ranks(folder: RunFolder, devices: "Devices", stop: StopRequest, *, progress: bool) -> Result:
    """One process a device, under torchrun, in a process group of their own, so that Ctrl-C reaches only this one."""
    folder.result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(devices.count), "-m", "undertow.runs.process", str(folder.path)]
    threads = str(max(1, (os.cpu_count() or 1) // devices.count))  # or the ranks would fight for the cores
    ranks = subprocess.Popen(
        command if progress else [*command, "--quiet"],
        start_new_session=True,
        stdout=2,  # standard output is for the result
        env={"OMP_NUM_THREADS": threads, **os.environ},
    )
    told = False
    while True:
        try:
            code = ranks.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            if stop.reason and not told:
                ranks.send_signal(signal.SIGTERM)
                told = True
        except KeyboardInterrupt:
            os.killpg(ranks.pid, signal.SIGKILL)
    if folder.result.exists():
        return Result.read(folder.result)
    if stop.reason:
        return Result("KILLED", f"stopped by {stop.reason}")
    return Result("FAILED", f"a process of the run ended with exit code {code} before it could say why")

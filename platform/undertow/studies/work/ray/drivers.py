"""Run a study on a Ray cluster: keep it filled with drivers, and watch in the ledger what they do.

    counts = RayDrivers(cluster, loaded, ledger, job, watch).run(stop)

It takes the place of a `Driver` in the process that was started by the user, but runs no trial. If that process is
killed, the drivers end with it; the same command starts new ones, which continue.
"""

import json
import math
import time
from dataclasses import asdict
from typing import Any

from undertow._system.stopping import StopRequest
from undertow.errors import UndertowError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.plan.packs import Packs, Reasons
from undertow.studies.store.counts import Counts, count
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.trial import Trial
from undertow.studies.work.driver import ProgressView
from undertow.studies.work.ray.cluster import RayCluster
from undertow.studies.work.ray.remote import RemoteJob

_REFRESH_SECONDS = 1.0


class RayDrivers:
    """The drivers of one study on a Ray cluster.

    Args:
        cluster: Connected.
        loaded: The study.
        ledger: Its ledger.
        job: What each driver is given.
        watch: Shows the progress.
    """

    def __init__(
        self, cluster: RayCluster, loaded: LoadedStudy, ledger: Ledger, job: RemoteJob, watch: ProgressView
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._job = job
        self._view = watch
        self._config = loaded.config
        self._most = math.inf if loaded.config.workers == "auto" else loaded.config.workers
        # Packs occupy fewer slots than there are runs; an autoscaler would add nodes for the others.
        self._runs_each = 1 if Reasons(loaded).counted else Packs(loaded, job.slots).size
        self._ended: set[int] | None = None
        self._started = time.monotonic()

    def run(self, stop: StopRequest) -> Counts:
        """Keep the cluster filled until no trial is left, or until asked to stop.

        Args:
            stop: Read several times a second; the second Ctrl-C does not wait until the trials are saved.

        Returns:
            The combinations by state at the end.

        Raises:
            UndertowError: Every node is refused.
        """
        stops, stopped = self._ledger.stops, False
        end = self._started + (self._config.time_budget or math.inf)
        counts = self._read()
        next_read = time.monotonic() + _REFRESH_SECONDS
        while True:
            if time.monotonic() > next_read:
                next_read = time.monotonic() + _REFRESH_SECONDS
                counts = self._read()
                if self._ledger.stops != stops and stop.reason is None:
                    stop.reason = "`undertow study stop`"
            if stop.reason is not None and not stopped:
                stopped = True
                self._cluster.stop(stop.reason)
            left = counts.total - counts.settled
            if stopped or not left or time.monotonic() > end:
                self._cluster.drain()
                if not self._cluster.running:
                    return self._read()
            else:
                self._cluster.request(int(min(self._most, math.ceil(left / self._runs_each))))
                self._start_drivers(end)
                if not self._cluster.running and self._cluster.is_refused():
                    raise UndertowError(f"no node can run the trials that are left:\n{self._cluster.refusals()}")
            self._cluster.poll(0.2)
            self._view.show(counts, [], time.monotonic() - self._started)

    def _start_drivers(self, end: float) -> None:
        """Start a driver in every slot that Ray has granted."""
        left = end - time.monotonic()
        for slot in self._cluster.running:
            if slot.ended is None:
                words: dict[str, Any] = asdict(self._job)
                words |= {"gpus": list(slot.gpus), "time_budget": None if math.isinf(left) else max(left, 0.1)}
                slot.ended = slot.actor.run.remote(json.dumps(words))

    def _read(self) -> Counts:
        """Count the combinations, and show the trials that have ended since the last call."""
        trials = self._ledger.trials()
        ended = [each for of_key in trials.values() for each in of_key if each.optuna.state.is_finished()]
        if self._ended is not None:
            for trial in ended:
                if trial.optuna.number not in self._ended:
                    self._show(trial)
        self._ended = {trial.optuna.number for trial in ended}
        return count(trials, self._ledger.total, self._ledger.retries, self._config.objectives[0].direction)

    def _show(self, trial: Trial) -> None:
        name = trial.assignment.name if trial.assignment else f"trial {trial.optuna.number}"
        if trial.optuna_state == "COMPLETE":
            values = zip(self._config.objectives, trial.optuna.values or (), strict=False)
            self._view.ended(name, "complete", ", ".join(f"{each.metric} {value:.4g}" for each, value in values))
        else:
            self._view.ended(name, *trial.end)

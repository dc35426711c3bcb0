"""The nodes of a Ray cluster, and a slot in every share of it that one trial needs.

    cluster = RayCluster.connect("auto", loaded, storage, uri, note)
    cluster.wait_for_slot(stop)                    # nothing is written before a node can run trials
    counts = RayDrivers(cluster, job, ...).run(stop)

Ray places one actor for each slot (`actor`), as many as it grants. An actor holds the resources and starts the driver
as a child process (`remote`), which keeps Ray's threads and signals away from the trials. The drivers find their trials
in the database, as drivers on several machines without Ray do: a lost node is a dead driver.

A node with other versions of Undertow or of a plugin gets no driver, and neither does one that cannot reach the stores.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Self

from undertow._system.redact import redacted
from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted, RequestError, UndertowError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.work.ray.actor import actor_class
from undertow.studies.work.ray.connection import connected, first_line, only_here
from undertow.studies.work.ray.remote import RemoteEnd
from undertow.studies.work.slots import trial_resources
from undertow.tracking.mlflow.addresses import is_server

_PENDING = 8  # actors that wait for resources: an autoscaler adds nodes for them
_WAIT_SECONDS = 5.0  # for the first slot, before the user is told what is missing
_MOST_LOSSES = 3  # of drivers on one node, after which it gets no more
_MOST_FAILURES = 10  # to start an actor, one after the other


@dataclass
class Slot:
    """An actor, and the driver that it runs.

    Attributes:
        node: The node it is on, as it is shown to the user; empty while it waits for resources.
        node_id: Ray's id of that node.
        gpus: The GPUs that Ray granted.
    """

    actor: Any
    described: Any
    ended: Any = None
    node: str = ""
    node_id: str = ""
    gpus: Sequence[str] = ()


@dataclass(frozen=True)
class Ended:
    """A driver that has ended; `end` is None if its actor or its node was lost."""

    node: str
    end: RemoteEnd | None


class RayCluster:
    """The nodes of a Ray cluster; made by `connect`.

    Args:
        ray: The module, connected.
        needed: What one trial needs, from `trial_resources`.
        versions: Version by distribution, which every node must have.
        local: Why nodes on other machines cannot work; empty if they can.
        note: Shows a line to the user.
    """

    def __init__(
        self,
        ray: Any,
        needed: Mapping[str, float],
        versions: Mapping[str, str],
        local: str,
        note: Callable[[str], None],
    ) -> None:
        self.needed = needed
        self.running: list[Slot] = []
        self._ray = ray
        self._versions = versions
        self._local = local
        self._note = note
        self._here = str(ray.util.get_node_ip_address())
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0)(actor_class())
        self._pending: list[Slot] = []
        self._refused: dict[str, str] = {}
        self._losses: dict[str, int] = {}
        self._failures = 0

    @classmethod
    def connect(cls, address: str, loaded: LoadedStudy, storage: str, uri: str, note: Callable[[str], None]) -> Self:
        """Connect to a cluster.

        Args:
            address: ``HOST:PORT``, or ``auto`` for RAY_ADDRESS or the cluster that this machine belongs to.
            loaded: The study.
            storage: Optuna's database.
            uri: The tracking store.
            note: Shows a line to the user.

        Raises:
            RequestError: Ray is not installed, there is no cluster, or its nodes cannot reach the stores.
        """
        ray = connected(address)
        alive = _alive(ray)
        gpus = any(node["Resources"].get("GPU") for node in alive)
        distributions = {each.distribution: each.version for each in loaded.registry.plugins if not each.scratch}
        cluster = cls(
            ray,
            trial_resources(loaded.config, loaded.first.train, gpus=gpus),
            {"undertow": metadata.version("undertow"), **distributions},
            only_here(storage, uri),
            note,
        )
        others = sorted({node["NodeManagerAddress"] for node in alive} - {cluster._here})
        if cluster._local and others:
            cluster.close()
            raise RequestError(
                f"the Ray cluster has nodes on other machines ({', '.join(others)}), but {cluster._local}"
            )
        if others and not is_server(uri):
            note(f"{redacted(uri)} gets the rows of all nodes, but their artifacts stay there: use an MLflow server")
        return cluster

    def wait_for_slot(self, stop: StopRequest) -> None:
        """Wait until a node can run trials.

        Raises:
            RequestError: No node may: their versions differ, or they cannot reach the stores.
            Interrupted: Stopped while it waited.
        """
        stop.take_over()  # Ray has installed a handler of SIGTERM
        tell_at = time.monotonic() + _WAIT_SECONDS
        while not self.running:
            if stop.reason is not None:
                raise Interrupted(f"stopped by {stop.reason} before a node could run a trial; nothing was started")
            self.request(1)
            self.poll(0.2)
            if self.is_refused():
                raise RequestError("no node of the Ray cluster can run this study:\n" + self.refusals())
            if time.monotonic() > tell_at:
                tell_at = float("inf")
                self._note(self._missing())

    def is_refused(self) -> bool:
        """Whether nodes were refused, and no other one has as much as a trial needs."""
        return bool(self._refused) and not self._able()

    def refusals(self) -> str:
        """Why nodes are refused, a line for each."""
        return "\n".join(f"  {reason}" for reason in self._refused.values())

    def request(self, number: int) -> None:
        """Ask Ray for as many slots as it grants, up to a number; those that run count."""
        wanted = min(number - len(self.running), _PENDING)
        options: dict[str, Any] = {"num_cpus": self.needed["CPU"], "num_gpus": self.needed.get("GPU", 0)}
        if self._refused:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(self._refused)})"}
        while len(self._pending) < wanted:
            # Two threads: one waits for the driver, the other passes on a request to stop.
            actor = self._actor_class.options(max_concurrency=2, **options).remote()
            self._pending.append(Slot(actor, actor.describe.remote(sorted(self._versions))))

    def poll(self, seconds: float) -> list[Ended]:
        """Wait until Ray grants a slot or a driver ends; new slots are in `running`.

        Args:
            seconds: At most so long.

        Returns:
            The drivers that have ended.
        """
        waiting = [slot.described for slot in self._pending] + [slot.ended for slot in self.running if slot.ended]
        if not waiting:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:  # all that are
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for slot in [each for each in self._pending if each.described in ready]:
            self._pending.remove(slot)
            self._accept(slot)
        ended = [slot for slot in self.running if slot.ended in ready]
        self.running = [slot for slot in self.running if slot not in ended]
        return [self._ended(slot) for slot in ended]

    def stop(self, reason: str) -> None:
        """Request every driver to save its trials and stop."""
        for slot in self.running:
            if slot.ended is not None:
                slot.actor.stop.remote(reason)

    def drain(self) -> None:
        """Release every slot that has no driver, and ask Ray for no more."""
        self._release_pending()
        for slot in self.running:
            if slot.ended is None:
                self._ray.kill(slot.actor)
        self.running = [slot for slot in self.running if slot.ended is not None]

    def _release_pending(self) -> None:
        for slot in self._pending:
            self._ray.kill(slot.actor)
        self._pending = []

    def slots(self, most: int | None) -> int:
        """How many slots the nodes have now, at least 1.

        Args:
            most: As many as are wanted; None for all.
        """
        of_nodes = [
            min(int(node["Resources"].get(name, 0) / number) for name, number in self.needed.items() if number)
            for node in _alive(self._ray)
        ]
        return max(1, sum(of_nodes) if most is None else most)

    def close(self) -> None:
        """Disconnect; the actors end, and with them their drivers."""
        self._ray.shutdown()

    def _accept(self, slot: Slot) -> None:
        """Check the node of a new slot; start no driver on one that is refused."""
        try:
            found = self._ray.get(slot.described)
        except self._ray.exceptions.RayError as error:
            self._failures += 1
            if self._failures == _MOST_FAILURES:
                raise UndertowError(f"Ray cannot start actors on its nodes: {error}") from None
            self._note(f"Ray could not start an actor, and tries again: {first_line(error)}")
            return
        self._failures = 0
        slot.node_id, slot.gpus = found["id"], found["gpus"]
        node = next(node for node in self._ray.nodes() if node["NodeID"] == slot.node_id)
        slot.node = f"{found['host']} ({node['NodeName']})"
        reasons = [
            f"it has {package} {there or 'not installed'}, this machine has {self._versions[package]}"
            for package, there in found["versions"].items()
            if there != self._versions[package]
        ]
        if self._local and node["NodeManagerAddress"] != self._here:
            reasons.append(self._local)
        if reasons:
            self._refuse(slot, "; ".join(reasons))
        if slot.node_id in self._refused:
            self._ray.kill(slot.actor)
        else:
            self.running.append(slot)

    def _ended(self, slot: Slot) -> Ended:
        try:
            end = RemoteEnd(**self._ray.get(slot.ended))
        except self._ray.exceptions.RayError as error:
            self._note(f"node {slot.node}: its driver is lost ({first_line(error)}); its trials continue elsewhere")
            self._losses[slot.node_id] = self._losses.get(slot.node_id, 0) + 1
            if self._losses[slot.node_id] == _MOST_LOSSES:
                self._refuse(slot, f"{_MOST_LOSSES} drivers were lost there")
            return Ended(slot.node, None)
        self._ray.kill(slot.actor)
        if end.error:
            self._refuse(slot, end.error)
        if end.unshipped:
            self._note(f"node {slot.node}: {end.unshipped} runs are not shipped; run `undertow sync` there")
        return Ended(slot.node, end)

    def _refuse(self, slot: Slot, reason: str) -> None:
        if slot.node_id in self._refused:
            return
        self._refused[slot.node_id] = f"node {slot.node} is refused: {reason}"
        self._note(self._refused[slot.node_id])
        self._release_pending()  # they could be granted on this node: the next ones exclude it

    def _able(self) -> list[str]:
        """The nodes that have as much as a trial needs, and are not refused."""
        return [
            node["NodeID"]
            for node in _alive(self._ray)
            if node["NodeID"] not in self._refused
            and all(node["Resources"].get(name, 0) >= number for name, number in self.needed.items())
        ]

    def _missing(self) -> str:
        """What a trial needs, what the cluster has, and what it waits for."""
        has = [f"{node['NodeName']} with {_amounts(node['Resources'])}" for node in _alive(self._ray)]
        why = (
            "waiting until some of it is free"
            if self._able()
            else "no node has that much. Waiting until one is added; `train.threads`, `train.devices` and "
            "`study.gpus_per_trial` decide what a trial needs"
        )
        return f"a trial needs {_amounts(self.needed)}; the Ray cluster has {', '.join(has)}: {why}. Ctrl-C ends this."


def _amounts(resources: Mapping[str, float]) -> str:
    there = [f"{resources[name]:g} {name}" for name in ("CPU", "GPU") if resources.get(name)]
    return " and ".join(there) or "0 CPU"


def _alive(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]

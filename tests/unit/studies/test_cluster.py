"""A Ray cluster that cannot be used is refused before anything is written; the study travels as data."""

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from undertow._system.stopping import StopRequest
from undertow.config.schema import TrainConfig
from undertow.config.study_schema import StudyConfig
from undertow.errors import Interrupted, RequestError
from undertow.plugins.frozen import keep_copies
from undertow.studies.plan.load import load_study, load_study_mapping
from undertow.studies.work.ray import cluster, connection, remote
from undertow.studies.work.ray.cluster import RayCluster, Slot
from undertow.studies.work.ray.drivers import RayDrivers
from undertow.studies.work.ray.remote import RemoteJob, remote_job
from undertow.studies.work.slots import trial_resources

FILE = """\
question: Does it travel?
task: {name: digit}
cell: {name: rnn, hidden_size: 4}
train: {max_steps: 4, threads: 2}
optim: {lr: 1.0e-2}
study:
  name: fleet
  vary: {cell.hidden_size: [4, 8]}
  cases: {slow: {optim.lr: 1.0e-3}, fast: {optim.lr: 1.0e-1}}
"""
PLUGIN = """\
import parts
from undertow import CellSpec, hookimpl

@hookimpl
def undertow_register_cells():
    yield CellSpec(name=parts.name, summary="x", factory=":Far", state=("h",))
"""
SERVER, POSTGRESQL = "http://tracker:5000", "postgresql+psycopg://me@db/studies"


class FakeRay:
    """Two nodes, of which the first is on this machine; it grants no actor."""

    def __init__(self, *addresses: str, cpus: float = 4.0, gpus: float = 0.0) -> None:
        self.util = SimpleNamespace(get_node_ip_address=lambda: addresses[0])
        self.addresses, self.resources = addresses, {"CPU": cpus, "GPU": gpus}
        self.closed = False
        self.killed: list[Any] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": each, "NodeName": each, "NodeManagerAddress": each, "Alive": True, "Resources": self.resources}
            for each in self.addresses
        ]

    def remote(self, **options: Any) -> Callable[[type], Any]:
        actor = SimpleNamespace(describe=SimpleNamespace(remote=lambda names: "described"))
        return lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: actor))

    def wait(self, waiting: list[str], **options: Any) -> tuple[list[str], list[str]]:
        return [], waiting

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.closed = True


@pytest.fixture
def file(home: Path) -> Path:
    (home / "fleet.yaml").write_text(FILE)
    return home / "fleet.yaml"


@pytest.mark.parametrize(
    ("storage", "uri", "named"),
    [
        ("sqlite:////runs/optuna.db", SERVER, r"study\.storage: sqlite:.* is a file of this machine alone.*PostgreSQL"),
        (
            "postgresql+psycopg://me@localhost/studies",
            SERVER,
            r"study\.storage: .* is an address of this machine alone",
        ),
        (
            POSTGRESQL,
            "sqlite:////runs/mlflow.db",
            r"track\.uri: sqlite:.* is a file of this machine alone.*MLflow server",
        ),
        (POSTGRESQL, "http://127.0.0.1:5000", r"track\.uri: http:.* is an address of this machine alone"),
    ],
)
def test_a_store_that_other_machines_cannot_reach_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, storage: str, uri: str, named: str
) -> None:
    ray = FakeRay("10.0.0.1", "10.0.0.2")
    monkeypatch.setattr(cluster, "connected", lambda address: ray)
    with pytest.raises(RequestError, match=rf"nodes on other machines \(10\.0\.0\.2\), but {named}"):
        RayCluster.connect("auto", load_study(file), storage, uri, print)
    assert ray.closed


def test_on_one_machine_files_are_shared(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connected", lambda address: FakeRay("10.0.0.1", "10.0.0.1"))
    found = RayCluster.connect("auto", load_study(file), "sqlite:////runs/o.db", "sqlite:////runs/m.db", print)
    assert found.needed == {"CPU": 2.0}


def test_a_tracking_database_keeps_artifacts_on_the_nodes_and_this_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(cluster, "connected", lambda address: FakeRay("10.0.0.1", "10.0.0.2"))
    RayCluster.connect("auto", load_study(file), POSTGRESQL, "postgresql+psycopg://me:secret@db/runs", notes.append)
    assert notes == [
        "postgresql+psycopg://me:***@db/runs gets the rows of all nodes, but their artifacts stay there: use an MLflow "
        "server"
    ]


def test_what_a_trial_needs_and_the_cluster_has_is_said_once_and_the_wait_can_be_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    stop = StopRequest()

    def note(text: str) -> None:
        notes.append(text)
        stop.reason = "SIGINT"

    monkeypatch.setattr(cluster, "connected", lambda address: FakeRay("10.0.0.1", cpus=1.0, gpus=1.0))
    monkeypatch.setattr(cluster, "_WAIT_SECONDS", 0.0)
    loaded = load_study(file, ["train.accelerator=cpu"])
    found = RayCluster.connect("auto", loaded, POSTGRESQL, SERVER, note)
    with stop.listening(), pytest.raises(Interrupted, match="nothing was started"):
        found.wait_for_slot(stop)
    [text] = notes
    assert text.startswith(
        "a trial needs 2 CPU; the Ray cluster has 10.0.0.1 with 1 CPU and 1 GPU: no node has that much. Waiting"
    )


@pytest.mark.timeout(60)
def test_a_study_that_has_nothing_left_ends_and_releases_the_slot_it_was_granted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, job = FakeRay("10.0.0.1"), cast(Any, SimpleNamespace(slots=1))
    monkeypatch.setattr(cluster, "connected", lambda address: ray)
    found = RayCluster.connect("auto", load_study(file), POSTGRESQL, SERVER, print)
    found.running = [Slot(actor="idle", described="described")]
    ledger = cast(Any, SimpleNamespace(stops=0, total=0, retries=0, trials=dict))
    view = cast(Any, SimpleNamespace(show=lambda *_: None))
    assert RayDrivers(found, load_study(file), ledger, job, view).run(StopRequest()).total == 0
    assert ray.killed == ["idle"]


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("ray://10.0.0.1:10001", "Ray Client is not supported"),
        ("head", "the address of a Ray cluster is HOST:PORT"),
        ("head:99999", "the address of a Ray cluster is HOST:PORT"),
    ],
)
def test_an_impossible_address_is_refused(address: str, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        connection.connected(address)


def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RequestError, match=rf"there is no Ray cluster at 127.0.0.1:{port}: .*`ray start --head`"):
        connection.connected(f"127.0.0.1:{port}")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'undertow\[ray\]'"):
        connection.connected("auto")


def test_a_study_travels_as_data_and_loads_back_to_an_equal_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", "undertow-torchrecurrent")
    loaded = load_study(file, ["study.retries=3", "train.max_steps=7"])
    job = remote_job(
        loaded,
        [],
        Path("/runs"),
        SERVER,
        POSTGRESQL,
        run="1f",
        modules=[],
        tags={},
        slots=1,
        gpu_share=0.0,
        allow_changed_code=False,
    )
    there = load_study_mapping(job.study)
    assert there.yaml() == loaded.yaml()
    assert there.space == loaded.space
    assert (job.threads, job.file) == (2, str(file))
    # Where the tracking store is, and how to log in; what a node may load is decided there.
    assert job.environment["MLFLOW_TRACKING_URI"] == SERVER
    assert job.environment["MLFLOW_TRACKING_USERNAME"] == "me"
    assert not [name for name in job.environment if not name.startswith("MLFLOW_")]


def test_scratch_plugins_travel_with_their_neighbours(file: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "here" / "far.py"
    (tmp_path / "here" / "parts" / "deep").mkdir(parents=True)
    plugin.write_text(PLUGIN)
    (tmp_path / "here" / "parts" / "__init__.py").write_text("name = 'far'\n")
    (tmp_path / "here" / "parts" / "deep" / "gates.py").write_text("")
    loaded = load_study(file, [], [plugin])
    (copy,) = keep_copies([plugin], tmp_path / "study" / "plugins-1")
    job = remote_job(
        loaded,
        [copy],
        Path("/runs"),
        SERVER,
        POSTGRESQL,
        run="1f",
        modules=[],
        tags={},
        slots=1,
        gpu_share=0.0,
        allow_changed_code=False,
    )
    job = RemoteJob(**json.loads(json.dumps(asdict(job))))
    (tmp_path / "here" / "parts" / "__init__.py").write_text("raise RuntimeError('not the copy')\n")
    there = remote._load(job, tmp_path / "node")
    (arrived,) = there.files
    assert arrived.parent.name == "plugins-1"
    assert there.registry.versions() == loaded.registry.versions()
    assert "far" in there.registry.cells
    (arrived.parent / "parts" / "deep" / "gates.py").write_text("edited")
    with pytest.raises(RequestError, match=r"gates\.py is not the scratch plugin .* started with: delete it"):
        remote._load(job, tmp_path / "node")


@pytest.mark.parametrize(
    ("train", "gpus_per_trial", "gpus", "needed"),
    [
        ({}, 1.0, False, {"CPU": 1.0}),
        ({"threads": 3, "devices": 2, "accelerator": "cpu", "strategy": "ddp"}, 1.0, True, {"CPU": 6.0}),
        ({}, 0.25, True, {"CPU": 1.0, "GPU": 0.25}),
        ({"devices": 2, "strategy": "ddp"}, 1.0, True, {"CPU": 2.0, "GPU": 2.0}),
        ({"accelerator": "gpu"}, 2.0, False, {"CPU": 1.0, "GPU": 2.0}),
    ],
)
def test_a_trial_needs_its_threads_and_its_share_of_the_gpus(
    train: dict[str, Any], gpus_per_trial: float, gpus: bool, needed: dict[str, float]
) -> None:
    study = StudyConfig(vary={"seed": [0]}, gpus_per_trial=gpus_per_trial)
    assert trial_resources(study, TrainConfig(**train), gpus=gpus) == needed


def test_half_a_gpu_more_than_one_is_refused() -> None:
    with pytest.raises(RequestError, match="whole GPUs"):
        trial_resources(StudyConfig(vary={"seed": [0]}, gpus_per_trial=1.5), TrainConfig(), gpus=True)

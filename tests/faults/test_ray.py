"""Studies on a real Ray cluster of this machine: nodes and the submitting process are lost, and no combination is.

The cluster and the MLflow server are processes of their own, for all tests of this module, on loopback. Each node has
one CPU, so one driver; the nodes `late` and `other` are set up as machines of their own.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results

Until = Callable[..., Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.postgresql,
    pytest.mark.skipif(find_spec("ray") is None, reason="no Python package `ray`: pip install 'undertow[ray]'"),
]

CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster

head = {"num_cpus": 1, "include_dashboard": False, **json.loads(sys.argv[1])}
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = {}
for line in sys.stdin:
    action, name, options = json.loads(line)
    if action == "add":
        for attempts_left in (2, 1, 0):
            try:
                nodes[name] = cluster.add_node(node_name=name, **options)
                break
            except Exception:  # on a busy machine a node may need more than the 30 s that Ray allows
                if not attempts_left:
                    raise
    else:
        cluster.remove_node(nodes.pop(name))
    print(cluster.address, flush=True)
cluster.shutdown()
"""

STUDY = """\
question: What survives?
task: {name: digit}
cell: {name: bomb, hidden_size: 4, options: {bomb: {mode: slow, pause: 0.5}}}
train: {max_steps: 12, val_every: 6, val_examples: 32, batch_size: 8, threads: 1, checkpoint: {every: 2}}
probes: []
plugins: {files: [bomb.py]}
study:
  name: fleet
  vary: {cell.hidden_size: [4, 8], seed: [SEEDS]}
  pack: off
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class RayNodes:
    """The cluster, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        settings = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without a cluster of several machines, Ray uses loopback only
        }
        self.environment = {**os.environ, **settings}
        command = [sys.executable, "-P", "-c", CLUSTER, json.dumps({"node_name": "head", "temp_dir": str(folder)})]
        self.process = subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=-3, text=True, cwd=folder, env=self.environment
        )

    def add(self, name: str, cpus: int = 1, **environment: str) -> str:
        """Add a node; returns the address of the cluster."""
        return self._do("add", name, num_cpus=cpus, env_vars=environment)

    def remove(self, name: str) -> None:
        self._do("remove", name)

    def _do(self, action: str, name: str, **options: Any) -> str:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([action, name, options]), file=self.process.stdin, flush=True)
        while not (line := self.process.stdout.readline()).startswith("127.0.0.1:"):
            assert line, "the cluster has ended"
        return line.strip()

    def close(self) -> None:
        """End every node, and see that no process is left."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.communicate()
        _, alive = psutil.wait_procs(started, timeout=60)
        assert [process.cmdline() for process in alive] == []


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # the names of its sockets must be short
        nodes = RayNodes(Path(folder))
        yield nodes
        nodes.close()


@pytest.fixture(scope="module")
def address(nodes: RayNodes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of three nodes, and of one more with another version of a plugin, which has two CPUs."""
    other = tmp_path_factory.mktemp("other")
    (other / "undertow_cells-9.9.dist-info").mkdir()
    (other / "undertow_cells-9.9.dist-info" / "METADATA").write_text("Name: undertow-cells\nVersion: 9.9\n")
    path = os.pathsep.join([str(other), os.environ.get("PYTHONPATH", "")])
    nodes.add("one")
    nodes.add("two")
    return nodes.add("other", cpus=2, PYTHONPATH=path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The address of an MLflow server, which may not respond yet."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    port = free_port()
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"], stdout=log, stderr=log, start_new_session=True, env=variables
        )
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)  # the group of its own that it was started in
    process.wait()


def ask(server: str, path: str, **body: Any) -> Any:
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
    connection.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def runs(server: str, tag: str) -> list[dict[str, Any]]:
    """The runs that have this tag."""
    experiments = ask(server, "experiments/search", max_results=100)["experiments"]
    ids = [each["experiment_id"] for each in experiments]
    found = ask(server, "runs/search", experiment_ids=ids, filter=f"tags.`{tag}` != ''", max_results=500)
    return list(found.get("runs", []))


class Submitted:
    """`undertow study run --ray`, as a user starts it, in a process whose output is a file."""

    def __init__(self, home: Path, nodes: RayNodes, address: str, *words: str, **variables: str) -> None:
        self.output = home / "output"
        command = [sys.executable, "-m", "undertow.cli", "study", "run", "fleet.yaml", "--ray", address, *words]
        environment = {**nodes.environment, "UNDERTOW_HOME": str(home / "home"), **variables}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(command, cwd=home, env=environment, stdout=output, stderr=output)

    def ended(self, code: int) -> str:
        """The output, after it has ended with this exit code."""
        self.process.wait(400)
        assert self.process.returncode == code, self.output.read_text()
        return self.output.read_text()


@pytest.fixture
def submit(home: Path, nodes: RayNodes, address: str) -> Iterator[Callable[..., Submitted]]:
    started: list[Submitted] = []

    def submit(*words: str, **variables: str) -> Submitted:
        started.append(Submitted(home, nodes, address, *words, **variables))
        return started[-1]

    (home / "fleet.yaml").write_text(STUDY.replace("SEEDS", ", ".join(map(str, range(24)))))
    shutil.copy(Path(__file__).with_name("bomb.py"), home)
    (home / "fast").touch()
    yield submit
    for each in started:
        each.process.kill()
        each.process.wait()


def test_each_combination_runs_once_whatever_happens_to_the_nodes_and_the_submitting_process(
    home: Path, server: str, nodes: RayNodes, submit: Callable[..., Submitted], new_database: Any, until: Until
) -> None:
    database = new_database()
    stores = {"UNDERTOW_STUDY_URI": database, "MLFLOW_TRACKING_URI": server}
    first = submit(**stores)
    until(lambda: "complete " in first.output.read_text())
    (home / "fast").unlink()
    ledger = Ledger.find(database, "fleet")

    def trials(state: str, where: Path = home) -> list[Any]:
        found = [trial for each in ledger.trials().values() for trial in each if trial.optuna_state == state]
        return [each for each in found if each.assignment and Path(each.assignment.folder).is_relative_to(where)]

    # A node is lost and another one is added, after the scratch plugin has gone from the folder of the user.
    until(lambda: len(trials("RUNNING")) == 3)  # on every node that can run the study
    (home / "bomb.py").rename(home / "away")
    nodes.remove("one")
    nodes.add("late", UNDERTOW_HOME=str(home / "late"))
    until(lambda: trials("COMPLETE", home / "late"))
    [copy] = (home / "late").glob("fleet-*/plugins/bomb.py")
    assert copy.read_bytes() == (home / "away").read_bytes()
    until(lambda: "(one): its driver is lost" in first.output.read_text())
    refused = f"(other) is refused: it has undertow-cells 9.9, this machine has {version('undertow-cells')}"
    until(lambda: refused in first.output.read_text())

    # The submitting process is killed and started again, and then stopped by Ctrl-C.
    first.process.kill()
    (home / "fast").touch()
    (home / "away").rename(home / "bomb.py")
    done = len(trials("COMPLETE"))
    second = submit("--workers", "1", **stores)  # the start of a driver costs more than ten trials
    until(lambda: len(trials("COMPLETE")) > done)
    (home / "fast").unlink()
    until(lambda: len(trials("RUNNING")) == 1)
    os.kill(second.process.pid, signal.SIGINT)
    assert "stopped by SIGINT with " in second.ended(1)
    assert trials("RUNNING") == []
    saved = [trial for trial in trials("FAIL") if trial.end == ("stopped", "SIGINT")]
    assert saved
    assert all(list(Path(trial.assignment.folder).glob("checkpoints/*.ckpt")) for trial in saved)

    (home / "fast").touch()
    assert "Report: " in submit("--workers", "1", **stores).ended(0)
    results = read_results(ledger)
    assert len(results.combinations) == 48
    assert {each.state for each in results.combinations} == {"complete"}
    assert len(trials("COMPLETE")) == 48

    def factors() -> Counter[Any]:
        """How many runs in MLflow have finished with each combination."""
        finished = [run for run in runs(server, "undertow.trial") if run["info"]["status"] == "FINISHED"]
        of_run = [[(tag["key"], tag["value"]) for tag in run["data"]["tags"]] for run in finished]
        return Counter(tuple(sorted(each for each in tags if ".factor." in each[0])) for tags in of_run)

    until(lambda: len(factors()) == 48)  # a shipper may still send what a lost driver has left
    assert set(factors().values()) == {1}
    [parent] = [run for run in runs(server, "undertow.kind") if run["info"]["run_name"] == "fleet"]
    assert parent["info"]["status"] == "FINISHED"
    folders = {Path(trial.assignment.folder).parent for trial in trials("COMPLETE")}
    assert folders == {home / "home", home / "late"}
    assert ledger.snapshot["file"] == "fleet.yaml"
    ledger._storage._backend.scoped_session.remove()  # type: ignore[attr-defined]
    ledger._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_a_node_with_another_version_of_a_plugin_is_refused_by_name_and_nothing_is_written(
    home: Path, submit: Callable[..., Submitted]
) -> None:
    output = submit("--set", "train.threads=2").ended(2)  # only one node has two CPUs
    assert "no node of the Ray cluster can run this study" in output
    assert f"(other) is refused: it has undertow-cells 9.9, this machine has {version('undertow-cells')}" in output
    assert not (home / "home").exists()


def test_a_study_that_needs_more_than_any_node_has_says_so_and_waits(
    home: Path, submit: Callable[..., Submitted], until: Until
) -> None:
    submitted = submit("--set", "train.threads=9")
    until(lambda: "a trial needs 9 CPU; the Ray cluster has " in submitted.output.read_text())
    assert "no node has that much" in submitted.output.read_text()
    os.kill(submitted.process.pid, signal.SIGINT)
    assert "before a node could run a trial; nothing was started" in submitted.ended(1)
    assert not (home / "home").exists()

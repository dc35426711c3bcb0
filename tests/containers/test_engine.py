"""The real thing: images are built, containers are killed, removed and created again, and a backup is restored.

It takes minutes, and most of them are the first build. The commands of the backup and of the restore are read out of
docker/README.md.
"""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
STUDY = """\
question: Is it all there?
task: {name: adding, length: 50}
cell: {hidden_size: 8}
train: {max_steps: 600, val_every: 100, val_examples: 32, batch_size: 8, threads: 1, checkpoint: {every: 20}}
probes: [{name: gradient-profile}]
study: {name: small, vary: {cell.name: [rnn, gru], seed: [0, 1]}}
"""


class Stack:
    """A project of Compose with names, ports and volumes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self.program = "docker compose" if v2 else "docker-compose"
        shutil.copytree(DOCKER, folder / "docker", ignore=shutil.ignore_patterns(".env"))
        for name in ("platform", "plugins"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
            shutil.copy2(ROOT / name, folder)
        (folder / "experiments").mkdir(mode=0o755)
        (folder / "experiments" / "small.yaml").write_text(STUDY)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "UNDERTOW_"))},
            "COMPOSE_PROJECT_NAME": f"undertow-test-{secrets.token_hex(4)}",
            **{"STUDY": "small.yaml", "MLFLOW_PORT": "0", "DASHBOARD_PORT": "0"},
        }

    def sh(self, script: str) -> str:
        """Run lines of shell in docker/, with the Compose that there is."""
        script = script.replace("docker compose", self.program)
        done = subprocess.run(
            ["sh", "-ec", script], cwd=self.folder / "docker", env=self.environment, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def ask(self, database: str, query: str) -> list[str]:
        """The rows of a query."""
        psql = f"docker compose exec -T postgres psql --username postgres --tuples-only --no-align {database}"
        return self.sh(f'{psql} --command "{query}"').split()

    def trials(self) -> list[str]:
        """The number of trials in each state."""
        return self.ask("optuna", "SELECT state, count(*) FROM trials GROUP BY state ORDER BY 1")

    def recorded(self) -> list[str]:
        """The runs in MLflow by status; how many rows of metrics there are, and how many that differ."""
        once = "(run_uuid, key, step, timestamp, value)"
        rows = self.ask("mlflow", f"SELECT count(*), count(DISTINCT {once}) FROM metrics")
        return [*self.ask("mlflow", "SELECT status, count(*) FROM runs GROUP BY status ORDER BY 1"), *rows]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    try:
        yield made
    finally:
        made.sh("docker compose --profile tools down --volumes --timeout 5")


def block(name: str) -> str:
    """The lines of shell in docker/README.md below a mark."""
    [found] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", (DOCKER / "README.md").read_text(), re.S)
    return str(found)


def test_a_study_in_containers_outlives_kills_and_comes_back_from_a_backup(
    stack: Stack, until: Callable[..., Any]
) -> None:
    stack.sh("./new-secrets && docker compose build")
    stack.sh("docker compose up --detach --scale worker=2")
    until(lambda: "RUNNING|2" in stack.trials(), seconds=600)
    stack.sh("docker kill $(docker compose ps --quiet worker | head -n 1)")
    stack.sh("docker compose kill postgres && docker compose up --detach --scale worker=1")
    stack.sh("docker compose down && docker compose up --detach --scale worker=2")
    until(lambda: "COMPLETE|4" in stack.trials(), seconds=600)
    until(lambda: stack.recorded()[:-1] == ["FINISHED|5"], seconds=180)
    rows, distinct = stack.recorded()[-1].split("|")
    assert rows == distinct

    before = [*stack.trials(), *stack.recorded()]
    stack.sh(block("backup"))
    stack.sh("docker compose down --volumes")
    stack.sh(block("restore").replace("up --detach\n", "up --detach --scale worker=0\n"))
    assert [*stack.trials(), *stack.recorded()] == before
    listed = stack.sh("docker compose run --rm -T files find /store -name report.html")
    assert listed.count("report.html") == 1

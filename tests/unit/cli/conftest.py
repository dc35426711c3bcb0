"""The command line in this process: `call("list", "cells")` returns exit code, standard output and standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import Any, NamedTuple

import pytest

from undertow.cli import main


class Outcome(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


Call = Callable[..., Outcome]

BUILDABLE = """
    import torch
    from undertow import Batch, Cell, CellSpec, Lengths, Options, Task, TaskSpec, Vector, hookimpl

    class Tide(Cell):
        def __init__(self, input_size, hidden_size, options, length):
            super().__init__(input_size, hidden_size, options, length)
            if hidden_size % 2:
                raise ValueError("the width must be even")
            self.pull = torch.nn.Parameter(torch.zeros(hidden_size, input_size))
            self.rest = torch.nn.Parameter(torch.zeros(7), requires_grad=False)

        def initial_state(self, batch_size):
            return self.pull.new_zeros(batch_size, 3), self.pull.new_zeros(batch_size, 2, 2)

        def step(self, z, state):
            return state

    class Swift(Tide):
        def scan(self, x_TBI, state):
            return x_TBI, state

    class Ports(Task):
        shape, inputs, output_size, solved = "aligned", Vector(2), 5, "when _all_ arrive"

        def __init__(self, options, length, seed):
            self.length, self.trivial_loss = length, 1 / length
            self.trivial_scores = {"accuracy": 0.2, "delay": 40.0}

        def size(self, split):
            return 1200 if split == "train" else None

        def batch(self, split, indices): ...
        def loss(self, output, target): ...
        def cues(self, batch): ...

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(
            name="tide", summary="Comes and goes.", factory=":Tide", state=("level", "flow"),
            equation="level' = |level| + flow\\nflow' = flow", paper="Newton, <i>Principia</i>",
        )
        yield CellSpec(name="swift-tide", summary="The same, *fast* | far.", factory=":Swift", state=("level", "flow"))

    @hookimpl
    def undertow_register_tasks():
        yield TaskSpec(
            name="ports", summary="Which port?", factory=":Ports", shape="aligned",
            lengths=Lengths(default=12, minimum=3, maximum=99), metrics={"accuracy": "max", "delay": "min"},
        )
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet. The working folder is empty, and the environment names no store."""
    monkeypatch.setenv("UNDERTOW_HOME", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tmp_path / "runs"


@pytest.fixture
def call(runs: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def digits(runs: Path) -> Path:
    """A valid configuration in the working folder."""
    path = Path("digits.yaml")
    path.write_text("task: {name: digits-by-pixel, length: 64}\ncell: {name: lstm, hidden_size: 8}\n")
    return path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a distribution with one module of hooks, as pip would."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules: list[str] = []

    def install(name: str, hooks: str) -> None:
        module = name.replace("-", "_")
        modules.append(module)
        (site / f"{module}.py").write_text(dedent(hooks))
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[undertow]\n{name} = {module}\n")

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def buildable(runs: Path) -> Path:
    """A scratch file with cells and a task that can be built, in the working folder."""
    path = Path("buildable.py")
    path.write_text(dedent(BUILDABLE))
    return path


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a proxy that answers every request with an HTML page and status 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write("<html>Please log in, Jérôme</html>".encode("latin-1"))

        do_POST = do_GET  # noqa: N815  # the name that the base class calls

        def log_message(self, *arguments: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()

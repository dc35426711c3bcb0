"""A second process that makes the same examples, to find what differs between processes.

    other_process().digest(
        {"path": sys.path, "files": [], "name": "adding", "options": "{}", "length": 10, "seed": 0,
         "indices": {"val": [0, 3]}}
    )

One process serves all requests, since importing torch takes seconds. Its hash seed differs from ours, so an example
that depends on the order of a set or on `hash` of a text differs too. Requests and responses are lines of JSON.
"""

import atexit
import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow._system.stdout import stdout_to_stderr
from undertow.api.contract import Split, Task
from undertow.plugins.host import load_plugins
from undertow.testing.conformance import environment

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def digest(task: Task, indices: Mapping[Split, list[int]]) -> str:
    """The SHA-256 of some examples and of their cues."""
    sha = hashlib.sha256()
    for split, numbers in indices.items():
        batch = task.batch(split, np.array(numbers))
        for tensor in (*batch, task.cues(batch)):
            sha.update(f"{split} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


@functools.cache
def other_process() -> "OtherProcess":
    """The process, started at the first call."""
    return OtherProcess()


class OtherProcess:
    """The process and its pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment([path for path in sys.path if path]) | {"PYTHONHASHSEED": "20110613"},
        )
        atexit.register(self.close)

    def digest(self, request: Mapping[str, Any]) -> str:
        """The digest that the other process computes.

        Args:
            request: The module path, scratch files, task, options, length, seed and examples, as above.

        Raises:
            AssertionError: The process ended, or could not make the task.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        response = json.loads(line) if line else {"error": "the process ended without a response"}
        if "error" in response:
            raise AssertionError(f"in another process the task fails: {response['error']}.")
        return str(response["digest"])

    def close(self) -> None:
        """End the process."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()


def _respond(request: Mapping[str, Any]) -> str:
    sys.path[:] = request["path"]
    registry = load_plugins(files=request["files"])
    spec = registry.task(request["name"])
    options = spec.options.model_validate_json(request["options"])
    return digest(registry.factory(spec)(options, request["length"], request["seed"]), request["indices"])


def main() -> None:
    """Respond to requests until standard input ends."""
    with stdout_to_stderr() as stdout:
        for line in sys.stdin:
            try:
                response = {"digest": _respond(json.loads(line))}
            except Exception as error:  # noqa: BLE001  # a plugin's code; the requesting process reports it
                response = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(response), file=stdout, flush=True)

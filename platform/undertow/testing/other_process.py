"""Another process that makes the same examples: the one way to see what depends on a process.

    fingerprint({"files": [], "name": "adding", "options": "{}", "length": 10, "seed": 0, "indices": [0, 3]})

It is started once and answers every question after that, since importing torch takes seconds; its hash seed is another,
so that an order of sets or a `hash` of text that ends up in an example is found out. Questions and answers are lines of
JSON.
"""

import atexit
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from undertow.api.contract import Split, Task
from undertow.plugins.host import load_plugins
from undertow.testing.conformance import environment

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def digest(task: Task, indices: Mapping[Split, list[int]]) -> str:
    """A fingerprint of some examples, and of their cues."""
    sha = hashlib.sha256()
    for split, numbers in indices.items():
        batch = task.batch(split, np.array(numbers))
        for tensor in (*batch, task.cues(batch)):
            sha.update(f"{split} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


class Elsewhere:
    """The other process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment([path for path in sys.path if path]) | {"PYTHONHASHSEED": "20110613"},
        )
        atexit.register(self.close)

    def digest(self, question: Mapping[str, Any]) -> str:
        """The fingerprint that the other process comes to, or what it raised.

        Raises:
            AssertionError: It died, or could not make the task.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended without a word"}
        if "error" in answer:
            raise AssertionError(f"in another process the task fails: {answer['error']}.")
        return str(answer["digest"])

    def close(self) -> None:
        """End it."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()


def _answer(question: Mapping[str, Any]) -> str:
    registry = load_plugins(files=question["files"])
    spec = registry.task(question["name"])
    options = spec.options.model_validate_json(question["options"])
    return digest(registry.factory(spec)(options, question["length"], question["seed"]), question["indices"])


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        try:
            with redirect_stdout(sys.stderr):
                answer = {"digest": _answer(json.loads(line))}
        except Exception as error:  # noqa: BLE001  # a plugin's code; the asking process reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)

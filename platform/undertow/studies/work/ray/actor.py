"""The actor that Ray places in each slot: it holds the resources, and starts a driver (`remote`) as a child process."""

from typing import Any


def actor_class() -> type:
    """The class of the actors, for `ray.remote`.

    It is made in a function, so that Ray sends its code: a node may have another version of this module, or none.
    """

    class UndertowDriver:
        """Holds the resources of a slot, and runs a driver as a child process."""

        def __init__(self) -> None:
            import threading

            self.process: Any = None
            self.reason = ""
            self.starting = threading.Lock()

        def describe(self, distributions: list[str]) -> dict[str, Any]:
            """The node, its GPUs, and the versions of these distributions."""
            import socket
            from importlib import metadata

            import ray

            versions: dict[str, str | None] = {}
            for name in distributions:
                try:
                    versions[name] = metadata.version(name)
                except metadata.PackageNotFoundError:
                    versions[name] = None
            context = ray.get_runtime_context()
            return {
                "id": context.get_node_id(),
                "host": socket.gethostname(),
                "gpus": [str(each) for each in context.get_accelerator_ids().get("GPU", [])],
                "versions": versions,
            }

        def run(self, job: str) -> dict[str, Any]:
            """Run a driver to its end; the job and the end are those of `remote`."""
            import json
            import subprocess
            import sys

            command = [sys.executable, "-P", "-m", "undertow.studies.work.ray.remote"]
            pipe = subprocess.PIPE
            with self.starting:
                if self.reason:
                    return {}
                # A session of its own, so that no signal to the group of Ray's worker reaches the driver.
                self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
                self.send(job)
            answer = self.process.stdout.readline()
            self.process.wait()
            if not answer:
                return {"error": f"its driver ended with exit code {self.process.returncode}; see driver.log there"}
            end: dict[str, Any] = json.loads(answer)
            return end

        def stop(self, reason: str) -> None:
            """Request the driver to save its trials and stop."""
            with self.starting:
                self.reason = reason
                if self.process is not None:
                    self.send(reason)

        def send(self, line: str) -> None:
            """Send the driver a line; one that has ended is seen by `run`."""
            from contextlib import suppress

            with suppress(OSError):
                print(line, file=self.process.stdin, flush=True)

    return UndertowDriver

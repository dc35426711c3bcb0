"""The supervisor: runs a server, and ends it with all its children when standard input closes.

    python -m undertow.cli.servers.supervisor python -m mlflow server

The process that starts a supervisor connects a pipe to its standard input and makes it the leader of a process group.
The kernel closes the pipe when that process ends for any reason, `kill -9` included.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

STOP_SECONDS = 10.0
"""Timeout for a server to end before it is killed."""

_POLL_SECONDS = 0.2


def supervise(command: list[str]) -> int:
    """Run a command until it ends or standard input closes; return its exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # SIGTERM to the group is for the server
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while server.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], _POLL_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1):
            os.killpg(0, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_SECONDS)
            os.killpg(0, signal.SIGKILL)  # kills this process too
    return server.returncode


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]) % 256)

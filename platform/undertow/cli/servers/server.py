"""Servers that end when the command that starts them ends.

    with serving([Server("MLflow", "http://127.0.0.1:5000", "/health", command, environment, log)]) as servers:
        wait_until_up(servers)
        wait_for_end(servers)     # raises when a server ends by itself

Each server runs below a supervisor in a process group of its own, so that Ctrl-C reaches only the command; see
`supervisor`.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import NoReturn

from undertow.cli.servers.supervisor import STOP_SECONDS
from undertow.errors import RequestError, UndertowError

_START_SECONDS = 180.0
_POLL_SECONDS = 0.2
_PORTS = 100


@dataclass(frozen=True)
class Server:
    """How to start a server, and how to reach it.

    Attributes:
        name: Its name in messages.
        address: The address that it listens on.
        health: The path below the address that answers when the server is up.
        command: The command that starts it.
        environment: Variables to add to those of this process. Secrets go here: every user can read arguments.
        log: The file for its output.
    """

    name: str
    address: str
    health: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path


class SupervisedServer:
    """A server that was started below a supervisor."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.log.parent.mkdir(parents=True, exist_ok=True)
        with server.log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "undertow.cli.servers.supervisor", *server.command],
                env={**os.environ, **server.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code of the server; None while it runs."""
        return self._supervisor.poll()

    def is_up(self) -> bool:
        """Return whether the server answers."""
        try:
            with urllib.request.urlopen(self.server.address + self.server.health, timeout=2):
                return True
        except (OSError, HTTPException):
            return False

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.server.log.read_text("utf-8", errors="replace").splitlines()[-5:])

    def request_stop(self) -> None:
        """Close the pipe to the supervisor, which then ends the server; return at once."""
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.close()

    def stop(self) -> None:
        """End the server with all its children, and return when they have ended."""
        self.request_stop()
        with suppress(subprocess.TimeoutExpired):
            self._supervisor.wait(STOP_SECONDS + 2.0)
        with suppress(ProcessLookupError):  # a server that ended by itself may have left children
            os.killpg(self._supervisor.pid, signal.SIGKILL)
        self._supervisor.wait()


@contextmanager
def serving(servers: Sequence[Server]) -> Iterator[list[SupervisedServer]]:
    """Start servers, and stop them at the end of the block.

    SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt inside the block.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, interrupt) for number in signals}
    started: list[SupervisedServer] = []
    try:
        for server in servers:
            started.append(SupervisedServer(server))  # noqa: PERF401  (if one cannot start, the others must be stopped)
        yield started
    finally:
        for each in started:
            each.request_stop()
        for each in started:
            each.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until_up(servers: Sequence[SupervisedServer]) -> None:
    """Return when all servers answer.

    Raises:
        UndertowError: One of them ended, or does not answer in time.
    """
    deadline = time.monotonic() + _START_SECONDS
    starting = list(servers)
    while starting:
        for each in servers:
            if each.exit_code is not None:
                raise UndertowError(f"{each.server.name} did not start:\n{each.log_tail()}")
        if time.monotonic() > deadline:
            late = starting[0].server
            raise UndertowError(f"{late.name} does not answer after {_START_SECONDS:.0f} s; see {late.log}")
        time.sleep(_POLL_SECONDS)
        starting = [each for each in starting if not each.is_up()]


def wait_for_end(servers: Sequence[SupervisedServer]) -> NoReturn:
    """Wait until a server ends by itself.

    Raises:
        UndertowError: One of them has ended.
    """
    while True:
        for each in servers:
            if each.exit_code is not None:
                raise UndertowError(
                    f"{each.server.name} ended by itself, with exit code {each.exit_code}; see {each.server.log}"
                )
        time.sleep(_POLL_SECONDS)


def free_port(host: str, port: int) -> int:
    """Return the first free port from `port` on.

    Raises:
        RequestError: There is none, or `host` is not an address of this machine.
    """
    if not 0 < port < 2**16:
        raise RequestError(f"--port: {port} is not a port; choose one from 1024 to 65535")
    for candidate in range(port, min(port + _PORTS, 2**16)):
        try:
            with socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return candidate
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise RequestError(f"--host: cannot listen on {host}: {error}") from error
    raise RequestError(f"--port: none of the {_PORTS} ports from {port} on is free")

"""Servers that live no longer than the command that starts them.

    with serving([Server("MLflow", "http://127.0.0.1:5000", "/health", command, environment, log)]) as servers:
        wait_until_up(servers)
        wait_for_end(servers)     # raises when one of them ends by itself

Each runs below a keeper, in a process group of its own, so that Ctrl-C reaches only the command; see `keeper`.
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
from pathlib import Path
from types import FrameType
from typing import NoReturn

from undertow.cli.servers.supervisor import STOP_SECONDS
from undertow.errors import RequestError, UndertowError

_START_SECONDS = 180.0
_POLL = 0.2
_PORTS = 100


@dataclass(frozen=True)
class Server:
    """A server to be.

    Attributes:
        name: What people call it.
        address: Where it will answer.
        health: The path below the address that it answers once it is up.
        command: What to run.
        environment: Added to that of this process: what nobody should read off a list of processes.
        log: What it says goes here.
    """

    name: str
    address: str
    health: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path


class Running:
    """A server that was started."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.log.parent.mkdir(parents=True, exist_ok=True)
        with server.log.open("wb") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-P", "-m", "undertow.cli.servers.supervisor", *server.command],
                env={**os.environ, **server.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._keeper.poll()

    @property
    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urllib.request.urlopen(self.server.address + self.server.health, timeout=2):
                return True
        except OSError:
            return False

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.server.log.read_text("utf-8", errors="replace").splitlines()[-5:])

    def hang_up(self) -> None:
        """Have its keeper end it."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()

    def stop(self) -> None:
        """End it with all its children, and wait until they are gone."""
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(STOP_SECONDS + 2.0)
        with suppress(ProcessLookupError):  # children of a server that ended by itself
            os.killpg(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait()


@contextmanager
def serving(servers: Sequence[Server]) -> Iterator[list[Running]]:
    """Start servers; at the end of the block they are gone.

    Ctrl-C, SIGTERM and a closed terminal all end the block with KeyboardInterrupt.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, interrupt) for number in signals}
    running: list[Running] = []
    try:
        for server in servers:
            running.append(Running(server))  # noqa: PERF401  (those that run must end if the next one cannot start)
        yield running
    finally:
        for each in running:
            each.hang_up()
        for each in running:
            each.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until_up(servers: Sequence[Running]) -> None:
    """Return when all of them answer.

    Raises:
        UndertowError: One of them ended, or takes too long.
    """
    deadline = time.monotonic() + _START_SECONDS
    silent = list(servers)
    while silent:
        for each in servers:
            if each.code is not None:
                raise UndertowError(f"{each.server.name} did not start:\n{each.last_words()}")
        if time.monotonic() > deadline:
            late = silent[0].server
            raise UndertowError(f"{late.name} does not answer after {_START_SECONDS:.0f} s; see {late.log}")
        time.sleep(_POLL)
        silent = [each for each in silent if not each.answers]


def wait_for_end(servers: Sequence[Running]) -> NoReturn:
    """Wait for one of them to end by itself.

    Raises:
        UndertowError: It has.
    """
    while True:
        for each in servers:
            if each.code is not None:
                raise UndertowError(
                    f"{each.server.name} ended by itself, with exit code {each.code}; see {each.server.log}"
                )
        time.sleep(_POLL)


def free_port(host: str, port: int) -> int:
    """The first free port from `port` on.

    Raises:
        RequestError: There is none, or no such host on this machine.
    """
    if not 0 < port < 2**16:
        raise RequestError(f"--port: {port} is no port; choose one from 1024 to 65535")
    for candidate in range(port, min(port + _PORTS, 2**16)):
        try:
            with socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return candidate
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise RequestError(f"--host: cannot listen on {host}: {error}") from error
    raise RequestError(f"--port: none of the {_PORTS} ports from {port} on is free for you")

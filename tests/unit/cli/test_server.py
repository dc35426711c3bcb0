"""Servers end with the command that started them, however it ends. The servers here are small ones."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from undertow.cli.servers import server as servers
from undertow.cli.servers.server import Server, free_port, serving, wait_until_up
from undertow.errors import RequestError, UndertowError

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
print(child.pid, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")
        if self.path == "/die":
            self.wfile.flush()
            import os
            os._exit(7)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

COMMAND = """
import sys
from pathlib import Path
from undertow.cli.servers.server import *
ports = sys.argv[2:]
servers = [
    Server(f"server {port}", f"http://127.0.0.1:{port}", "/", [sys.executable, sys.argv[1], port], {}, Path(port))
    for port in ports
]
try:
    with serving(servers) as running:
        wait_until_up(running)
        print("up", flush=True)
        wait_for_end(running)
except KeyboardInterrupt:
    sys.exit(3)
except UndertowError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


@pytest.fixture
def make(script: Path, tmp_path: Path) -> Callable[[], Server]:
    taken: list[int] = []

    def server() -> Server:
        taken.append(free_port("127.0.0.1", max([5830, *taken]) + 1))
        command = [sys.executable, str(script), str(taken[-1])]
        return Server(
            f"server {taken[-1]}", f"http://127.0.0.1:{taken[-1]}", "/", command, {}, tmp_path / str(taken[-1])
        )

    return server


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def child_in(log: Path) -> int:
    """Return the process that a server has started, from its log."""
    return int(log.read_text().split()[0])


def test_the_next_free_port_replaces_one_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = free_port("127.0.0.1", port)
    assert port < free < port + 100
    with pytest.raises(RequestError, match="--port"):
        free_port("127.0.0.1", 65536)


def test_servers_and_their_children_have_ended_after_the_block(make: Callable[[], Server]) -> None:
    both = [make(), make()]
    with serving(both) as running:
        wait_until_up(running)
        children = [child_in(server.log) for server in both]
        assert not any(has_ended(child) for child in children)
    assert all(has_ended(child) for child in children)
    assert all(each.exit_code is not None for each in running)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(both[0].address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_servers_end_when_a_signal_ends_the_command(
    script: Path, tmp_path: Path, number: signal.Signals, until: Callable[..., None]
) -> None:
    ports = [free_port("127.0.0.1", 5850)]
    ports.append(free_port("127.0.0.1", ports[0] + 1))
    words = [sys.executable, "-c", COMMAND, str(script), *map(str, ports)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=tmp_path) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"up\n"
        started = psutil.Process(command.pid).children(recursive=True)
        assert len(started) == 6, "a supervisor, a server and its child, twice"
        command.send_signal(number)
        assert command.wait(20) == (-number if number == signal.SIGKILL else 3)
        until(lambda: all(has_ended(process.pid) for process in started), seconds=20)
    assert all(is_free(port) for port in ports)


def test_when_one_server_ends_by_itself_the_other_is_stopped(
    script: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    ports = [free_port("127.0.0.1", 5850)]
    ports.append(free_port("127.0.0.1", ports[0] + 1))
    words = [sys.executable, "-c", COMMAND, str(script), *map(str, ports)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "up\n"
        started = psutil.Process(command.pid).children(recursive=True)
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/die").close()
        _, err = command.communicate(timeout=20)
    assert command.returncode == 1
    assert err == f"server {ports[1]} ended by itself, with exit code 7; see {ports[1]}\n"
    until(lambda: all(has_ended(process.pid) for process in started), seconds=1)


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(
    make: Callable[[], Server], tmp_path: Path
) -> None:
    broken = Server(
        "the other", "http://127.0.0.1:9", "/", [sys.executable, "-c", "exit('no space left')"], {}, tmp_path / "l"
    )
    with (
        serving([make(), broken]) as running,
        pytest.raises(UndertowError, match=r"the other did not start:\nno space left"),
    ):
        wait_until_up(running)


def test_waiting_for_a_server_that_does_not_answer_has_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_START_SECONDS", 0.5)
    silent = Server(
        "silent", "http://127.0.0.1:9", "/", [sys.executable, "-c", "import time; time.sleep(99)"], {}, tmp_path / "log"
    )
    with serving([silent]) as running, pytest.raises(UndertowError, match="silent does not answer"):
        wait_until_up(running)


IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(99)
"""

SUPERVISOR = """
import sys
from undertow.cli.servers import supervisor
supervisor.STOP_SECONDS = 0.5
supervisor.supervise([sys.executable, "-c", sys.argv[1]])
"""


def test_a_server_that_ignores_sigterm_is_killed(until: Callable[..., None]) -> None:
    words = [sys.executable, "-c", SUPERVISOR, IGNORES_SIGTERM]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as supervisor:
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"ready\n"
        [server] = psutil.Process(supervisor.pid).children()
        os.killpg(supervisor.pid, signal.SIGTERM)
        time.sleep(0.3)
        assert supervisor.poll() is None
        assert not has_ended(server.pid)
        supervisor.stdin.close()
        assert supervisor.wait(20) == -signal.SIGKILL
        until(lambda: has_ended(server.pid), seconds=20)

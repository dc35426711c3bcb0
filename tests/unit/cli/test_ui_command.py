"""`undertow ui`, up to the point where a server starts; tests/e2e starts one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli import ui

Call = Callable[..., Any]


def test_without_a_store_it_says_what_to_do_first(call: Call, runs: Path) -> None:
    code, out, err = call("ui")
    assert (code, out) == (2, "")
    assert str(runs / "mlflow.db") in err
    assert "undertow run" in err
    assert not runs.exists()


def test_a_server_has_a_ui_of_its_own(call: Call) -> None:
    code, out, err = call("ui", "--uri", "http://me:secret@127.0.0.1:9/")
    assert code == 0
    assert out == "http://127.0.0.1:9/#/experiments?workflowType=machine_learning\n"
    assert "does not answer" in err


def test_a_port_in_use_gives_way_to_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = ui._free_port("127.0.0.1", port)
    assert port < free < port + 100


@pytest.mark.parametrize("words", [["--port", "0"], ["--port", "65536"], ["--host", "203.0.113.7"]])
def test_a_place_where_nobody_can_listen_is_refused(call: Call, runs: Path, words: list[str]) -> None:
    runs.mkdir()
    (runs / "mlflow.db").touch()
    code, _, err = call("ui", *words)
    assert code == 2
    assert words[0] in err


def test_a_server_that_does_not_start_is_told_with_its_last_words(
    call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is no database")
    code, out, err = call("ui")
    assert (code, out) == (1, "")
    assert "did not start" in err
    assert "file is not a database" in err


def test_stopping_ends_the_server_with_all_its_children() -> None:
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1); time.sleep(99)'])"
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", parent], start_new_session=True, stdout=subprocess.PIPE, bufsize=0
    )
    assert server.stdout is not None
    ui._stop(server)
    assert server.returncode == -signal.SIGTERM
    assert server.stdout.read() == b"", "every process that held the pipe is gone"
    server.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)

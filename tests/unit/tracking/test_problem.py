"""What a person is told about records that are not shipped: why, in the last line."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from undertow.cli.output.runs import not_shipped
from undertow.tracking import Outbox, RunFolder, ShipperProcess
from undertow.tracking.shipping.process import last_problem


@pytest.fixture(params=[401, 404, None])
def broken(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A server that fails: its address with a token, and what the message has to say."""
    if request.param is None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            yield f"http://TOKEN@127.0.0.1:{unused.getsockname()[1]}", "refused"
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815  # the name that the base class calls

        def log_message(self, *arguments: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://TOKEN@127.0.0.1:{server.server_port}", str(request.param)
        server.shutdown()
        thread.join()


def test_the_last_line_says_why_a_run_is_not_shipped(tmp_path: Path, broken: tuple[str, str]) -> None:
    uri, reason = broken
    folder = RunFolder.create(tmp_path, "lstm", experiment="e", uri=uri, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.status("FINISHED")
    folder.release()
    assert last_problem(folder.path) == ""
    shipper = ShipperProcess(tmp_path, poll=0.1, grace=0.1)
    try:
        assert not shipper.wait(folder, timeout=60, unless=lambda: shipper.problem != "")
        last = not_shipped("lstm", folder.path, last_problem(folder.path)).splitlines()[-1]
        assert reason in last
        assert "TOKEN" not in last + shipper.log.read_text()
    finally:
        shipper.close(timeout=30)


def test_a_problem_that_has_ended_or_belongs_to_another_run_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "shipper.log").write_text(
        "2026-11-27 12:00:00 a-1: no route\n"
        "2026-11-27 12:00:01 b-1: denied: b\n"
        "2026-11-27 12:00:02 a-1: shipped again\n"
    )
    assert last_problem(tmp_path / "a-1") == ""
    assert last_problem(tmp_path / "b-1") == "denied: b"
    assert last_problem(tmp_path / "c-1") == ""


def test_a_shipper_that_cannot_start_is_told_by_the_last_line_of_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "shipper.log").write_text("Traceback (most recent call last):\n  ...\nModuleNotFoundError: no mlflow\n")
    assert last_problem(tmp_path / "a-1") == "ModuleNotFoundError: no mlflow"

"""The outbox: each record is one line, no record is lost, and only what every store accepts is written."""

import errno
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import DiskFull
from undertow.tracking import Outbox, RunFolder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_record_is_a_line_with_the_time_of_its_call(folder: RunFolder) -> None:
    before = time.time_ns() // 1_000_000
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags={"a": 1}, params={"p": 2.5}, description="why")
        outbox.metrics([("train/loss", 0.5, 3), ("val/loss", 1, 3)])
        outbox.params({"q": "x"})
        outbox.tags({"b": "y"})
        outbox.experiment_tags({"c": "z"})
        outbox.artifact("config.yaml", "configuration")
        outbox.status("FINISHED")
        assert outbox.size == folder.outbox.stat().st_size
    start, metrics, params, tags, experiment_tags, artifact, status = lines(folder.outbox)
    assert start["tags"] == {"a": "1", "mlflow.note.content": "why"}
    assert start["params"] == {"p": "2.5"}
    assert start["experiment"] == "waves"
    assert [row[:3] for row in metrics["rows"]] == [["train/loss", 0.5, 3], ["val/loss", 1.0, 3]]
    assert all(before <= row[3] <= time.time_ns() // 1_000_000 for row in metrics["rows"])
    assert (params["params"], tags["tags"]) == ({"q": "x"}, {"b": "y"})
    assert (experiment_tags["kind"], experiment_tags["tags"]) == ("experiment-tags", {"c": "z"})
    assert (artifact["path"], artifact["directory"]) == ("config.yaml", "configuration")
    assert status["status"] == "FINISHED"


@pytest.mark.parametrize("torn", [b'{"kind":"metr', b"x" * 200_000, b""])
def test_an_incomplete_last_line_is_removed_and_complete_lines_stay(folder: RunFolder, torn: bytes) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.tags({"a": "1"})
        complete = outbox.size
    with folder.outbox.open("ab") as file:
        file.write(torn)
    with Outbox(folder.outbox) as outbox:
        assert outbox.size == complete
        outbox.tags({"a": "2"})
    assert [record["tags"] for record in lines(folder.outbox)] == [{"a": "1"}, {"a": "2"}]


def test_a_file_with_only_an_incomplete_line_becomes_empty(folder: RunFolder) -> None:
    folder.outbox.write_bytes(b"half")
    with Outbox(folder.outbox) as outbox:
        assert outbox.size == 0


WRITER = """
import sys
from pathlib import Path
from undertow.tracking import Outbox
outbox = Outbox(Path(sys.argv[1]))
for step in range(1_000_000):
    outbox.metrics([("train/loss", 0.5, step)])
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_minus_nine_loses_no_row_whose_call_returned(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "outbox.jsonl"
    enough = random.Random(seed).randrange(200, 2000)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(next(writer.stdout)) for _ in range(enough)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    Outbox(path).close()
    kept = [record["rows"][0][2] for record in lines(path)]
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) <= len(acknowledged) + 1


def test_a_line_that_does_not_fit_on_the_disk_is_dropped_whole(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(folder.outbox)
    outbox.tags({"a": "1"})
    write, space = os.write, 10

    def write_what_fits(fd: int, data: bytes) -> int:
        nonlocal space
        if not space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(fd, data[:space])
        space -= done
        return done

    monkeypatch.setattr(os, "write", write_what_fits)
    with pytest.raises(DiskFull, match=rf"{folder.outbox} was not written, and \d+ bytes are free in") as full:
        outbox.tags({"b": "2"})
    assert str(pickle.loads(pickle.dumps(full.value))) == str(full.value)
    monkeypatch.undo()
    outbox.tags({"c": "3"})
    outbox.close()
    assert [record["tags"] for record in lines(folder.outbox)] == [{"a": "1"}, {"c": "3"}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("loss", float("nan"), 1), "finite"),
        (("loss", float("-inf"), 1), "finite"),
        (("loss", 1.0, 1.5), "whole number"),
        (("loss", 1.0, True), "whole number"),
        (("loss", 1.0, 2**63), "64 bits"),
        (("loss", 1.0, -(2**63) - 1), "64 bits"),
        (("loss?", 1.0, 1), "letters, digits"),
        (("loss\n", 1.0, 1), "letters, digits"),
        (("", 1.0, 1), "letters, digits"),
        (("../loss", 1.0, 1), "as a path"),
        (("a//b", 1.0, 1), "as a path"),
        (("/loss", 1.0, 1), "as a path"),
    ],
)
def test_an_invalid_point_is_refused_and_no_row_of_its_call_is_written(
    folder: RunFolder, row: tuple[Any, Any, Any], message: str
) -> None:
    with Outbox(folder.outbox) as outbox:
        with pytest.raises(ValueError, match=message):
            outbox.metrics([("fine", 1.0, 1), row])
        assert outbox.size == 0
        outbox.metrics([("gradient/h/by_lag", 1, 2**63 - 1), ("a b:c-d.e_f", -1.0, -(2**63))])


def test_an_unknown_status_an_invalid_name_and_an_artifact_outside_the_folder_are_refused(folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        with pytest.raises(ValueError, match="FINISHED"):
            outbox.status("DONE")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="cannot be tracked"):
            outbox.params({"a=b": 1})
        with pytest.raises(ValueError, match="outside the run folder"):
            outbox.artifact("../secrets")
        outbox.artifact(folder.path / "checkpoints" / "best.ckpt")
    assert lines(folder.outbox)[0]["path"] == "checkpoints/best.ckpt"

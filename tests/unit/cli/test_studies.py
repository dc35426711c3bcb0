"""The state of a study on a terminal and as JSON."""

import json

import pytest

from undertow.cli.output.console import emit
from undertow.cli.output.studies import print_status, status_document
from undertow.studies.status import StudyStatus
from undertow.studies.store.counts import Counts

SINGLY = {
    "optim.omega: Ω penalises each network by itself": 10,
    "optim.scheduler.name: `plateau` gives each replicate another rate": 20,
}


ONE_BY_ONE = {"measured to be faster": 8}


def status(packs: list[int], one_by_one: dict[str, int], singly: dict[str, int]) -> StudyStatus:
    counts = Counts(48, {"complete": 40, "running": 8}, None)
    return StudyStatus("small", counts, {}, {}, {}, "val/loss", 1.5, packs, one_by_one, singly)


def lines(capsys: pytest.CaptureFixture[str], shown: StudyStatus) -> list[str]:
    print_status(shown)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_status_says_what_is_packed_in_lines_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = lines(capsys, status([8, 8, 2], ONE_BY_ONE, SINGLY))
    assert "packed             18 runs in 3 packs of up to 8; 8 one by one (measured to be" in found
    assert " " * 19 + "faster)" in found
    (first,) = [place for place, line in enumerate(found) if line.startswith("singly")]
    said = " ".join(line.removeprefix("singly").strip() for line in found[first:])
    assert said == "; ".join(f"{runs} runs ({reason})" for reason, runs in SINGLY.items())
    assert len(found) - first <= 3
    assert max(map(len, found)) <= 80


def test_a_study_without_packs_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = "\n".join(lines(capsys, status([], {}, {})))
    assert "packed" not in found
    assert "singly" not in found


def test_the_json_has_the_size_of_every_pack_and_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    emit(status_document(status([8, 4], ONE_BY_ONE, SINGLY)))
    document = json.loads(capsys.readouterr().out)
    assert (document["packs"], document["one_by_one"], document["singly"]) == ([8, 4], ONE_BY_ONE, SINGLY)

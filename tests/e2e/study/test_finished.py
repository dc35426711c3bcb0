"""A finished study: tables, a report, charts, MLflow's tree of runs, and the commands that read it."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

NAMES = [f"{cell}-T{length}-s{seed}" for cell in ("rnn", "lstm") for length in (16, 32) for seed in (0, 1)]

Document = dict[str, Any]


@pytest.mark.slow
def test_a_study_ends_with_a_table_its_report_and_its_charts(finished) -> None:
    output = finished.output
    assert output.code == 0, output.err
    rows = [line.split()[:2] for line in output.out.splitlines() if line.split()[:1] in (["rnn"], ["lstm"])]
    assert sorted(rows) == sorted([cell, length] for cell in ("rnn", "lstm") for length in ("16", "32"))
    assert "half-life of ∂L/∂x" in output.out
    assert f"Report: {finished.report}\n" in output.err
    assert "Look with: undertow ui\n" in output.err
    (experiment,) = finished.query("SELECT experiment_id FROM experiments WHERE name = 'tides'")
    assert f"http://127.0.0.1:5000/#/experiments/{experiment[0]}/runs?compareRunsMode=CHART" in output.err
    assert "&viewStateShareKey=" in output.err
    assert "left" not in output.err.splitlines()[-1]


@pytest.mark.slow
def test_every_run_is_a_child_of_the_study_and_names_it(finished, until) -> None:
    until(lambda: finished.shipped())
    runs = finished.query("SELECT run_uuid, name, status, experiment_id FROM runs ORDER BY start_time")
    assert sorted(name for _, name, _, _ in runs) == sorted([*NAMES, "small"])
    assert {status for _, _, status, _ in runs} == {"FINISHED"}
    assert len({experiment for *_, experiment in runs}) == 1
    (parent,) = [each for each, name, _, _ in runs if name == "small"]
    for trial in finished.read("small").combinations:
        tags = finished.tags(trial.run_name)
        assert tags["mlflow.parentRunId"] == parent
        assert tags["undertow.study"] == "small"
        assert tags["undertow.trial"] == str(trial.number)
        assert tags["undertow.run"] == trial.run
        assert tags["undertow.factor.cell.name"] == trial.params["cell.name"]
        assert tags["undertow.seed"] == str(trial.params["seed"])
        assert tags["mlflow.note.content"].startswith(f"{trial.params['cell.name']} (width ")


@pytest.mark.slow
def test_the_study_s_own_run_holds_its_question_table_report_and_view(finished, until) -> None:
    until(lambda: finished.shipped())
    tags = finished.tags("small")
    assert tags["undertow.kind"] == "study"
    assert tags["undertow.study"] == "small"
    assert tags["undertow.study.states"] == "8 complete"
    question, _, table = tags["mlflow.note.content"].partition("\n\n")
    assert question == "Does the gradient reach the first mark?"
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.count("|") > 2][2:] == [
        "rnn",
        "lstm",
        "rnn",
        "lstm",
    ]
    (where,) = finished.query("SELECT artifact_uri FROM runs WHERE name = 'small'")
    kept = Path(where[0].removeprefix("file://"))
    assert {path.name for path in kept.iterdir()} >= {"report.html", "config.yaml"}
    assert (kept / "report.html").read_bytes() == finished.report.read_bytes()
    keys = [key for (key,) in finished.query("SELECT key FROM experiment_tags")]
    assert any(key.startswith("mlflow.sharedViewState.") for key in keys)
    (view,) = finished.query("SELECT value FROM experiment_tags WHERE key LIKE 'mlflow.sharedViewState.%'")
    state = json.loads(view[0])["state"].removeprefix("deflate;")
    charts = json.loads(zlib.decompress(base64.b64decode(state)))["compareRunCharts"]
    shown = [chart["metricKey"] for chart in charts]
    assert shown[:3] == ["val/loss", "train/loss", "gradient/input/by_lag"]
    assert all(name.startswith("gradient/") for name in shown[2:])


@pytest.mark.slow
def test_the_same_command_again_runs_nothing_and_prints_the_same(
    finished, call, monkeypatch: pytest.MonkeyPatch, until
) -> None:
    monkeypatch.setenv("UNDERTOW_HOME", str(finished.path))
    before = sorted(path.name for path in finished.path.glob("*/run.json"))
    again = call("study", "run", finished.file)
    assert again.code == 0
    assert again.out == finished.output.out
    assert again.err.splitlines() == finished.output.err.splitlines()[-len(again.err.splitlines()) :]
    assert sorted(path.name for path in finished.path.glob("*/run.json")) == before
    assert [trial.attempts for trial in finished.read("small").combinations] == [1] * 8
    until(lambda: finished.shipped())
    assert finished.query("SELECT COUNT(*) FROM runs") == [(9,)]


@pytest.mark.slow
def test_a_narrow_terminal_gets_a_narrow_table_without_intervals(
    finished, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTOW_HOME", str(finished.path))
    monkeypatch.setenv("COLUMNS", "84")
    narrow = call("study", "run", finished.file).out.splitlines()
    assert any("[" in line for line in finished.output.out.splitlines())
    assert not any("[" in line for line in narrow)
    assert max(map(len, narrow)) <= 84
    assert narrow[2 + 1 + 4].startswith("median over seeds; ")


@pytest.mark.slow
def test_json_has_every_combination(finished, call) -> None:
    output = call("study", "run", finished.file, "--home", finished.path, "--json", "--quiet")
    document: Document = json.loads(output.out)
    assert output.code == 0
    assert document["study"] == "small"
    assert document["report"] == str(finished.report)
    assert document["shipped"] is True
    assert [trial["run_name"] for trial in document["trials"]] == NAMES
    first = document["trials"][0]
    assert first["params"] == {"cell.name": "rnn", "task.length": 16, "seed": 0}
    assert (first["state"], first["steps"], first["attempts"]) == ("complete", 4, 1)
    assert first["values"] == [first["metrics"]["val/loss"]]
    assert (Path(first["folder"]) / "result.json").exists()


@pytest.mark.slow
def test_status_counts_the_combinations(finished, call) -> None:
    best = min(finished.read("small").combinations, key=lambda trial: trial.values[0])
    text = call("study", "status", "small", "--home", finished.path)
    assert text.code == 0
    facts = dict(line.split(maxsplit=1) for line in text.out.splitlines())
    assert (facts["study"].strip(), facts["combinations"].strip()) == ("small", "8")
    assert facts["complete"].strip() == "8"
    assert best.run_name in facts["best"]
    by_file = call("study", "status", finished.file, "--home", finished.path, "--json")
    document: Document = json.loads(by_file.out)
    assert (document["total"], document["settled"], document["states"]) == (8, 8, {"complete": 8})
    assert document["best"] == {"value": best.values[0], "run": best.run_name}
    assert (document["running"], document["failed"], document["drivers"]) == ({}, {}, {})


@pytest.mark.slow
def test_the_report_is_written_to_the_requested_file(finished, call, home: Path) -> None:
    written = call("study", "report", finished.file, "--home", finished.path)
    assert (written.code, written.out) == (0, f"{finished.report}\n")
    elsewhere = home / "there.html"
    output = call("study", "report", "small", "--home", finished.path, "--output", elsewhere, "--json")
    document: Document = json.loads(output.out)
    assert document["report"] == str(elsewhere)
    assert len(document["trials"]) == 8
    page = elsewhere.read_text()
    assert "Does the gradient reach the first mark?" in page
    assert all(name in page for name in NAMES)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.browser
def test_pictures_are_written_on_request(finished, call, home: Path) -> None:
    output = call(
        "study", "report", "small", "--home", finished.path, "--output", home / "a.html", "--pictures", home / "drawn"
    )
    report, *drawn = map(Path, output.out.splitlines())
    assert report == home / "a.html"
    assert set(drawn) == set((home / "drawn").iterdir())
    pictures = [path for path in drawn if path.suffix == ".png"]
    assert {"profile-input.png", "half-life-input.png", "val-loss.png"} <= {path.name for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.slow
def test_stopping_a_study_without_a_driver_stops_no_later_driver(finished, call) -> None:
    output = call("study", "stop", "small", "--home", finished.path)
    assert output.code == 0
    assert "no driver is running, so there is nothing to stop" in output.err
    assert call("study", "run", finished.file, "--home", finished.path, "--quiet").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "stop", "report"])
def test_an_unknown_name_is_an_error_with_the_nearest_name(finished, call, command: str) -> None:
    output = call("study", command, "smal", "--home", finished.path)
    assert output.code == 2
    assert "there is no study `smal`" in output.err
    assert "Did you mean `small`?" in output.err


@pytest.mark.slow
def test_the_study_is_exported_and_has_not_moved_from_itself(finished, call, home: Path) -> None:
    words = "study", "report", "small", "--home", finished.path, "--output", home / "b.html", "--export", home / "paper"
    exported: Document = json.loads(call(*words, "--json").out)
    names = {Path(file).name for file in exported["exported"]}
    assert {"runs.csv", "results.csv", "curves.csv", "results.tex", "results.md", "learning.svg"} <= names
    compared = call("study", "compare", "small", finished.file, "--home", finished.path, "--json")
    document: Document = json.loads(compared.out)
    assert document["configuration"] == []
    assert document["quantities"]
    assert not any(each["moved"] for each in document["quantities"])


@pytest.mark.slow
def test_the_losses_by_step_and_the_load_of_the_machine_are_kept(finished) -> None:
    for each in finished.read("small").combinations:
        steps, _ = each.curves["val/loss/by_step"]
        assert steps[-1] == each.steps
        assert set(each.load) == {"start", "end"}

"""Saved chart views and the addresses of charts; tests/e2e opens them in a browser."""

import base64
import json
import sys
import zlib
from importlib import metadata
from typing import Any

import pytest

from undertow.tracking.mlflow.addresses import address_of, chart_address, view_address
from undertow.tracking.mlflow.views import chart_view, saved_views, view_id

CURVES = ["gradient/h/by_lag", "gradient/c/by_lag"]


def state_of(view: Any) -> dict[str, Any]:
    """The content of the tag of a view, decoded as MLflow's UI decodes it."""
    [(name, value)] = view.items()
    assert name.startswith("mlflow.sharedViewState.")
    head, _, packed = json.loads(value)["state"].partition(";")
    assert head == "deflate"
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert isinstance(state, dict)
    return state


def test_a_view_has_a_chart_for_each_metric_in_order_and_one_curve_for_each_group() -> None:
    state = state_of(
        chart_view("digits", group_by="cell.name", metrics=CURVES, search="tags.a = 'b'", mlflow_version="3.17.2")
    )
    assert [chart["metricKey"] for chart in state["compareRunCharts"]] == CURVES
    [section] = state["compareRunSections"]
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {section["uuid"]}
    assert state["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "cell.name"}],
    }
    assert state["searchFilter"] == "tags.a = 'b'"


def test_runs_are_grouped_by_several_parameters_or_not_at_all() -> None:
    by_two = state_of(chart_view("v", group_by=["cell.name", "task.length"], metrics=CURVES, mlflow_version="3.17.0"))
    assert [key["groupByData"] for key in by_two["groupBy"]["groupByKeys"]] == ["cell.name", "task.length"]
    assert state_of(chart_view("v", group_by=None, metrics=CURVES, mlflow_version="3.17.0"))["groupBy"] is None


def test_the_id_of_a_view_depends_on_its_name_alone() -> None:
    views = [chart_view("digits", group_by=None, metrics=metrics, mlflow_version="3.17.2") for metrics in ([], CURVES)]
    assert [set(view) for view in views] == [{f"mlflow.sharedViewState.{view_id('digits')}"}] * 2
    assert view_id("digits") != view_id("adding")


def test_twenty_charts_fit_into_a_tag() -> None:
    metrics = [f"gradient/layer{layer}/{part}/by_lag" for layer in range(10) for part in "hc"]
    [value] = chart_view("v" * 200, group_by="cell.name", metrics=metrics, mlflow_version="3.17.2").values()
    assert len(value) < 20_000


@pytest.mark.parametrize("version", ["3.16.9", "3.18.0", "3.18.0.dev0", "4.0", "2.22"])
def test_an_untested_version_of_mlflow_gets_no_view(version: str) -> None:
    assert chart_view("v", group_by=None, metrics=CURVES, mlflow_version=version) == {}


def test_the_default_version_is_the_installed_one_and_mlflow_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def version(name: str) -> str:
        read.append(name)
        return "3.99"

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert chart_view("v", group_by=None, metrics=CURVES) == {}
    assert read == ["mlflow"]


def test_charts_and_views_open_in_the_chart_mode_of_the_right_workflow() -> None:
    charts = "http://x:1/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning"
    assert chart_address("http://x:1", "7") == charts
    assert chart_address("http://x:1", None) == "http://x:1/#/experiments?workflowType=machine_learning"
    assert view_address("http://x:1", "7", "0a1b") == f"{charts}&viewStateShareKey=0a1b"


def test_an_address_contains_no_password() -> None:
    assert address_of("https://me:secret@host:5000/mlflow/") == "https://host:5000/mlflow"


def test_the_views_among_the_tags_of_an_experiment_are_listed_the_latest_first() -> None:
    def view(name: str, updated: int) -> str:
        return json.dumps({"name": name, "createdAt": 1, "updatedAt": updated, "state": "{}"})

    tags = {
        "mlflow.note.content": "How far?",
        "mlflow.sharedViewState.a": view("early", 1),
        "mlflow.sharedViewState.b": view("late", 2),
        "mlflow.sharedViewState.c": "deflate;bare",
        "mlflow.sharedViewState.d": "[]",
        **chart_view("ours", group_by=None, metrics=CURVES, mlflow_version="3.17.2"),
    }
    assert list(saved_views(tags).items()) == [(view_id("ours"), "ours"), ("b", "late"), ("a", "early")]

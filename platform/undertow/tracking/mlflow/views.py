"""Saved chart views: a selection of charts, which MLflow stores as a tag of the experiment.

    outbox.experiment_tags(chart_view("digits", group_by="cell.name", metrics=["gradient/h/by_lag"]))
    view_address("http://127.0.0.1:5000", experiment_id, view_id("digits"))

MLflow lists such a view among those saved in its UI. Their format is not documented. This one was read from the source
of the versions below and tested in a browser. For other versions no view is made, since the UI shows an error for a
view that it cannot read.
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from packaging.specifiers import SpecifierSet

VERSIONS = SpecifierSet(">=3.17,<3.18")
"""The versions of MLflow whose UI opens these views."""

_TAG = "mlflow.sharedViewState."


def view_id(name: str) -> str:
    """The id of the view of this name, for its tag and its URL."""
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()


def chart_view(
    name: str,
    *,
    group_by: str | Sequence[str] | None,
    metrics: Sequence[str],
    search: str = "",
    mlflow_version: str | None = None,
) -> Mapping[str, str]:
    """Describe a view with a line chart of each metric, over its steps.

    Args:
        name: Its name in MLflow's UI; it replaces a view of the same name in the same experiment.
        group_by: One parameter or several: the mean of all runs with the same values is one curve. None: one curve for
            each run.
        metrics: The metrics, in the order of their charts.
        search: The runs to show, in the syntax of MLflow's search, such as ``tags.`undertow.study` = 'digits'``; all
            runs of the experiment when empty.
        mlflow_version: The version of the server that shows it; the installed one when None.

    Returns:
        Tags of the experiment; empty for an untested version.
    """
    if not VERSIONS.contains(mlflow_version or metadata.version("mlflow"), prereleases=True):
        return {}
    keys = [group_by] if isinstance(group_by, str) else group_by or []
    section = view_id(name)
    state = {
        "searchFilter": search,
        "compareRunCharts": [_chart(f"{section}-{number}", section, metric) for number, metric in enumerate(metrics)],
        "compareRunSections": [_section(section, name, columns=min(len(metrics), 2))],
        "isAccordionReordered": True,  # otherwise MLflow sorts this section among its own sections
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": _groups(keys),
    }
    now = time.time_ns() // 1_000_000
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": _compressed(state)}
    return {_TAG + section: json.dumps(view, separators=(",", ":"))}


def saved_views(tags: Mapping[str, str]) -> dict[str, str]:
    """The views among the tags of an experiment, saved by Undertow or in the UI: name by id, the latest first."""
    found = []
    for key, value in tags.items():
        if key.startswith(_TAG):
            try:
                view = json.loads(value)
                found.append((int(view["updatedAt"]), key.removeprefix(_TAG), str(view["name"])))
            except (ValueError, KeyError, TypeError):
                continue  # older versions of MLflow store a state without a name
    return {each: name for _, each, name in sorted(found, reverse=True)}


def _groups(params: Sequence[str]) -> dict[str, Any] | None:
    if not params:
        return None
    return {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": key} for key in params]}


def _section(uuid: str, name: str, columns: int) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": True, "isReordered": False, "columns": columns, "cardHeight": 480}


def _chart(uuid: str, section: str, metric: str) -> dict[str, Any]:
    """A line chart, with every setting, since MLflow adds no defaults."""
    return {
        "uuid": uuid,
        "type": "LINE",
        "metricSectionId": section,
        "metricKey": metric,
        "displayName": metric,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _compressed(state: Mapping[str, Any]) -> str:
    """The state as MLflow compresses it, to fit into a tag."""
    text = json.dumps(state, separators=(",", ":"))
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()

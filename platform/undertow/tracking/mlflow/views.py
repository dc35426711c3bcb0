"""Saved chart views: how the charts of an experiment open, kept by MLflow as a tag of the experiment.

    outbox.experiment_tags(chart_view("digits", group_by="cell.name", metrics=["gradient/h/by_lag"]))
    view_address("http://127.0.0.1:5000", experiment_id, view_id("digits"))

MLflow lists such a view among those that people have saved in its UI. What is inside of one is not documented: this is
what the UI of the versions below opens, read from its source and seen in a browser. For any other version there is no
view, since a wrong one greets its reader with an error.
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
    """The id of the view of this name, by which an address asks for it."""
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
        name: What MLflow calls it; a view of the same name in the same experiment takes its place.
        group_by: One parameter or several: runs that agree in them become one curve, their mean. None: a curve for
            each run.
        metrics: The metrics, in this order.
        search: Which runs are in it, as MLflow's search has it, such as ``tags.`undertow.study` = 'digits'``; all of
            the experiment when empty.
        mlflow_version: Of the server that shows it; the installed one when None.

    Returns:
        Tags of the experiment; none if the view is not known to open in that version.
    """
    if not VERSIONS.contains(mlflow_version or metadata.version("mlflow"), prereleases=True):
        return {}
    keys = [group_by] if isinstance(group_by, str) else group_by or []
    section = view_id(name)
    state = {
        "searchFilter": search,
        "compareRunCharts": [_chart(f"{section}-{number}", section, metric) for number, metric in enumerate(metrics)],
        "compareRunSections": [_section(section, name, columns=min(len(metrics), 2))],
        "isAccordionReordered": True,  # or this section would be sorted in among those that MLflow adds by itself
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": _groups(keys),
    }
    now = time.time_ns() // 1_000_000
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": _packed(state)}
    return {_TAG + section: json.dumps(view, separators=(",", ":"))}


def saved_views(tags: Mapping[str, str]) -> dict[str, str]:
    """The views among the tags of an experiment, whoever saved them: name by id, the latest first."""
    found = []
    for key, value in tags.items():
        if key.startswith(_TAG):
            try:
                view = json.loads(value)
                found.append((int(view["updatedAt"]), key.removeprefix(_TAG), str(view["name"])))
            except (ValueError, KeyError, TypeError):
                continue  # older versions shared the bare state, without a name
    return {each: name for _, each, name in sorted(found, reverse=True)}


def _groups(params: Sequence[str]) -> dict[str, Any] | None:
    if not params:
        return None
    return {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": key} for key in params]}


def _section(uuid: str, name: str, columns: int) -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "display": True, "isReordered": False, "columns": columns, "cardHeight": 480}


def _chart(uuid: str, section: str, metric: str) -> dict[str, Any]:
    """A line chart: MLflow adds no defaults to it, so all of them are here."""
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


def _packed(state: Mapping[str, Any]) -> str:
    """As MLflow packs it, to stay below the length of a tag."""
    text = json.dumps(state, separators=(",", ":"))
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()

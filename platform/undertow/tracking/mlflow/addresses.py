"""URLs of MLflow's UI.

    chart_address("http://127.0.0.1:5000", "7")                   # the charts of an experiment
    view_address("http://127.0.0.1:5000", "7", view_id("digits"))      # a saved view of them; see `views`

Each URL has the workflow type; without it the UI opens its pages for language models.
"""

from urllib.parse import quote, urlsplit


def is_server(uri: str) -> bool:
    """Whether a tracking URI names an MLflow server, which has a UI of its own."""
    return uri.startswith(("http://", "https://"))


def address_of(uri: str) -> str:
    """A server's address for a browser: without user, password and final slash."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def chart_address(server: str, experiment_id: str | None) -> str:
    """The charts of all runs of an experiment; the list of experiments if the id is None."""
    if experiment_id is None:
        return f"{server}/#/experiments?workflowType=machine_learning"
    return f"{server}/#/experiments/{quote(experiment_id)}/runs?compareRunsMode=CHART&workflowType=machine_learning"


def view_address(server: str, experiment_id: str, view_id: str) -> str:
    """A saved view of an experiment's charts.

    Args:
        server: The server's address.
        experiment_id: The experiment that has the view.
        view_id: From `undertow.tracking.mlflow.views.view_id`.
    """
    return f"{chart_address(server, experiment_id)}&viewStateShareKey={quote(view_id)}"

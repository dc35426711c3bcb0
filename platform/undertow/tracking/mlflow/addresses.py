"""Addresses in MLflow's UI.

    chart_address("http://127.0.0.1:5000", "7")                   # the charts of an experiment
    view_address("http://127.0.0.1:5000", "7", view_id("digits"))      # as a saved view has them; see `views`

Each names the workflow type; without it the UI opens on its pages for language models.
"""

from urllib.parse import quote, urlsplit


def is_server(uri: str) -> bool:
    """Whether a tracking URI names an MLflow server, which has a UI of its own."""
    return uri.startswith(("http://", "https://"))


def address_of(uri: str) -> str:
    """A server's address as people open it: without a name and password in it, or a slash at its end."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def chart_address(server: str, experiment_id: str | None) -> str:
    """All runs of an experiment as charts; the list of experiments when it is not known which."""
    if experiment_id is None:
        return f"{server}/#/experiments?workflowType=machine_learning"
    return f"{server}/#/experiments/{quote(experiment_id)}/runs?compareRunsMode=CHART&workflowType=machine_learning"


def view_address(server: str, experiment_id: str, view_id: str) -> str:
    """An experiment's charts as a saved view has them.

    Args:
        server: The server's address.
        experiment_id: The experiment that has the view.
        view_id: From `undertow.tracking.mlflow.views.view_id`.
    """
    return f"{chart_address(server, experiment_id)}&viewStateShareKey={quote(view_id)}"

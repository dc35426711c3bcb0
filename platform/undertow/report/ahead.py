"""Import what a report needs before it is needed: two seconds that a study has while its first processes start."""

from importlib import import_module

_NEEDED = (
    "jinja2",
    "optuna.importance",
    "optuna.visualization",
    "pandas",
    "plotly.graph_objects",
    "plotly.subplots",
    "scipy.stats",
)


def import_ahead() -> None:
    """Import the libraries that the report's modules import inside their functions, and what those read when used."""
    for name in _NEEDED:
        import_module(name)
    import_module("plotly.graph_objects").Figure(layout={"title": {"text": "a reason to read plotly's rules"}})

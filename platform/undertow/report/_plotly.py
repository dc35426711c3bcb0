"""plotly.js and figures in a form that can stand inside a script element of an HTML page."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from undertow.report.charts.narrow import narrow_layout

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def plotly_script() -> str:
    """The source of plotly.js, without a closing script tag in it."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")


def figures_json(figures: "Mapping[str, Figure]") -> str:
    """Data and layout of figures by name, as JSON. Without ``<`` in it, no tag can begin inside the script element."""
    return json.dumps({name: _content(figure) for name, figure in figures.items()}).replace("<", "\\u003c")


def _content(figure: "Figure") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(figure.to_json())
    narrow = narrow_layout(content["data"], content["layout"])
    return {"data": content["data"], "layout": content["layout"], **({"narrow": narrow} if narrow else {})}

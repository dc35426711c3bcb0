"""The layout of a figure for a narrow screen: its panels below one another, each as wide as the screen.

narrow_layout(data, layout)       # replaces these keys of the layout; None where there are no panels
"""

from typing import Any

_WIDTH = 350  # pixels of a phone's screen
_PLOT, _BETWEEN = 200, 86  # pixels of a panel, and between two of them: an axis with its title, and the next title
_ABOVE, _BELOW = 30, 56
_LEGEND_MARK, _LEGEND_LETTER, _LEGEND_ROW = 45, 6.4, 22

_Layout = dict[str, Any]


def narrow_layout(data: list[_Layout], layout: _Layout) -> _Layout | None:
    """The keys of the layout that change on a narrow screen, with their values; None for a figure without axes.

    Args:
        data: The traces of a figure, as in its JSON.
        layout: Its layout.
    """
    panels = _panels(layout)
    if not panels:
        return None
    inner = len(panels) * _PLOT + (len(panels) - 1) * _BETWEEN
    above = _ABOVE + _LEGEND_ROW * _legend_rows(data)
    below = _BELOW + (34 if layout.get("updatemenus") else 0)
    titles = [each for each in layout.get("annotations", []) if _is_title(each)]
    found: _Layout = {
        "height": inner + above + below,
        "margin": {"l": 54, "r": 12, "t": above, "b": below},
        "legend": {**layout.get("legend", {}), "y": 1 + _ABOVE / inner},
        "annotations": [each for each in layout.get("annotations", []) if not _is_title(each)],
    }
    for place, (x_name, y_name) in enumerate(panels):
        x, y = layout[x_name], layout[y_name]
        top = 1 - place * (_PLOT + _BETWEEN) / inner
        if title := _title(titles, x, y):
            found["annotations"].append({**title, "x": 0.5, "y": top})
        row = [layout[each] for _, each in panels if _domain(layout[each]) == _domain(y)]
        column = [layout[each] for each, _ in panels if _domain(layout[each]) == _domain(x)]
        found[x_name] = {**x, "domain": [0, 1], "showticklabels": True, "title": _axis_title(column)}
        found[y_name] = {
            **y, "domain": [max(0.0, top - _PLOT / inner), top], "showticklabels": True, "title": _axis_title(row)
        }  # fmt: skip
    return found


def _panels(layout: _Layout) -> list[tuple[str, str]]:
    """The names of the two axes of each panel, in the order of reading."""
    names = [name for name in layout if name.startswith("xaxis")]
    pairs = [(name, f"yaxis{str(layout[name].get('anchor', 'y'))[1:]}") for name in names]
    pairs = [pair for pair in pairs if pair[1] in layout]
    return sorted(pairs, key=lambda pair: (-_domain(layout[pair[1]])[0], _domain(layout[pair[0]])[0]))


def _domain(axis: _Layout) -> tuple[float, float]:
    low, high = axis.get("domain", (0.0, 1.0))
    return round(low, 6), round(high, 6)


def _is_title(annotation: _Layout) -> bool:
    return annotation.get("xref") == "paper" == annotation.get("yref") and not annotation.get("showarrow", True)


def _title(titles: list[_Layout], x: _Layout, y: _Layout) -> _Layout | None:
    """The title of a panel, or of its column."""
    middle, top = sum(_domain(x)) / 2, _domain(y)[1]
    above = [each for each in titles if abs(each["x"] - middle) < 1e-3 and each["y"] > top - 1e-3]
    return min(above, key=lambda each: float(each["y"]), default=None)


def _axis_title(axes: list[_Layout]) -> Any:
    """The title that one of the axes of a row or a column has for all."""
    return next((axis["title"] for axis in axes if (axis.get("title") or {}).get("text")), {})


def _legend_rows(traces: list[_Layout]) -> int:
    names = {trace["name"] for trace in traces if trace.get("name") and trace.get("showlegend") is not False}
    column = _LEGEND_MARK + _LEGEND_LETTER * max(map(len, names), default=0)
    return -(-len(names) // max(1, int(_WIDTH // column)))

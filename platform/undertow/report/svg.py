"""Figures of the report as SVG files, for a paper: text stays text, and nothing else is needed to draw them.

    write_drawings(results, Path("figures"))          # learning.svg, profile-input.svg, …

The figures of the page are made for plotly, which draws SVG only in a browser. Here matplotlib, which MLflow needs
anyway, draws the same axes, curves, marks and colours.
"""

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.report.charts.chart import Chart
from undertow.report.charts.sections import sections
from undertow.report.charts.style import GREY, TEXT
from undertow.report.groups import Groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SECTIONS = ("learning", "profiles", "scores", "lengths", "heatmaps", "training", "cost")
_PIXELS = 100  # an inch
_WIDTH, _HALF = 1000, 560  # pixels

_DASHES: Mapping[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 2, 1, 2)),
    "longdash": (0, (9, 2)),
}
_MARKERS: Mapping[str, str] = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "x": "X",
    "triangle-down": "v",
    "star": "*",
    "cross": "P",
    "line-ew": "_",
}
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "undertow",
    "axes.edgecolor": "#6b6b6b",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
}


def write_drawings(groups: Groups, folder: Path) -> list[Path]:
    """Write the figures of the report but Optuna's, one file each.

    Args:
        groups: The groups of a study.
        folder: Where they are written; files of the same names are replaced.

    Returns:
        The files.
    """
    wanted = [section for section in sections(groups) if section.name in _SECTIONS]
    charts = [chart for section in wanted for chart in section.charts if chart.figure is not None]
    if charts:
        folder.mkdir(parents=True, exist_ok=True)
    return [_write(chart, folder / f"{chart.name}.svg") for chart in charts]


def _write(chart: Chart, path: Path) -> Path:
    import matplotlib
    from matplotlib.figure import Figure

    assert chart.figure is not None
    content = chart.figure.to_plotly_json()
    layout, traces = content["layout"], content["data"]
    width, height = (_HALF if chart.half else _WIDTH), layout["height"]
    with matplotlib.rc_context(_STYLE):
        drawing = Figure(figsize=(width / _PIXELS, height / _PIXELS))
        margin = layout["margin"]
        left, right = 70 / width, 1 - (80 if _has_scale(layout, traces) else 16) / width
        bottom, top = margin["b"] / height, 1 - (margin["t"] + 6) / height
        panels: dict[tuple[str, str], Axes] = {}
        for trace in traces:
            name = (trace.get("xaxis", "x"), trace.get("yaxis", "y"))
            if name not in panels:
                x, y = (_axis(layout, each) for each in name)
                (x0, x1), (y0, y1) = x.get("domain", (0, 1)), y.get("domain", (0, 1))
                place = left + x0 * (right - left), bottom + y0 * (top - bottom)
                axes = drawing.add_axes((*place, (x1 - x0) * (right - left), (y1 - y0) * (top - bottom)))
                panels[name] = axes
            _draw(panels[name], trace, layout)
        for name, axes in panels.items():
            _finish(axes, layout, name)
        _share_ranges(panels, layout)
        for trace in [each for each in traces if each["type"] == "heatmap"][:1]:
            beside = 1 - 66 / width, bottom, 12 / width, top - bottom
            _add_scale(drawing, beside, layout.get("coloraxis", trace), bool(trace.get("reversescale")))
        for note in layout.get("annotations", ()):
            _note(drawing, panels, note, (left, right, bottom, top))
        _add_legend(drawing, panels, height)
        drawing.text(8 / width, 1 - 8 / height, chart.title, va="top", weight="bold", size=11, parse_math=False)
        drawing.savefig(path, format="svg", metadata={"Date": None, "Title": chart.title})
    return path


def _axis(layout: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = layout.get(f"{name[0]}axis{name[1:]}", {})
    return found


def _has_scale(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> bool:
    return "coloraxis" in layout or any(trace["type"] == "heatmap" for trace in traces)


def _draw(axes: "Axes", trace: Mapping[str, Any], layout: Mapping[str, Any]) -> None:
    if trace["type"] == "heatmap":
        _draw_heatmap(axes, trace, layout)
        return
    line, marker, mode = trace.get("line", {}), trace.get("marker", {}), trace.get("mode", "lines")
    x, y = list(trace["x"]), list(trace["y"])
    if trace.get("fill") == "toself":
        axes.fill(x, y, color=_colour(trace["fillcolor"]), linewidth=0)
        return
    symbol = str(marker.get("symbol", "circle"))
    colour = _colour(line.get("color") or marker.get("color") or GREY)
    step: dict[str, Any] = {"drawstyle": "steps-post"} if line.get("shape") == "hv" else {}
    (drawn,) = axes.plot(
        x,
        [float("nan") if value is None else value for value in y],
        linestyle=_DASHES[line.get("dash", "solid")] if "lines" in mode else "none",
        linewidth=line.get("width", 2) * 0.75,
        color=colour,
        marker=_MARKERS.get(symbol.removesuffix("-open"), "o") if "markers" in mode else "none",
        markersize=marker.get("size", 6) * 0.7,
        markerfacecolor="none" if symbol.endswith("-open") else colour,
        alpha=trace.get("opacity", 1),
        label=_plain(trace.get("name", "")) if trace.get("showlegend") is not False and trace.get("name") else "_",
        **step,
    )
    if error := trace.get("error_y"):
        ends = [list(error["arrayminus"]), list(error["array"])]
        axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=drawn.get_color(), elinewidth=0.9, capsize=2)


def _draw_heatmap(axes: "Axes", trace: Mapping[str, Any], layout: Mapping[str, Any]) -> None:
    import numpy as np

    scale = layout.get("coloraxis", trace)
    low, high = scale.get("cmin", scale.get("zmin")), scale.get("cmax", scale.get("zmax"))
    z = np.array([[np.nan if value is None else value for value in row] for row in trace["z"]], dtype=float)
    colours = "cividis_r" if trace.get("reversescale") else "cividis"
    axes.set_facecolor("#f2f2f2")
    gap: dict[str, Any] = {"edgecolors": "white", "linewidth": 2} if trace.get("xgap") else {}
    axes.pcolormesh(list(trace["x"]), list(trace["y"]), z, cmap=colours, vmin=low, vmax=high, **gap)


def _add_scale(
    drawing: Any, place: tuple[float, float, float, float], scale: Mapping[str, Any], reversed_: bool
) -> None:
    """The scale of the colours, at the right."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = scale.get("cmin", scale.get("zmin")), scale.get("cmax", scale.get("zmax"))
    colours = ScalarMappable(Normalize(low, high), "cividis_r" if reversed_ else "cividis")
    bar, given = drawing.colorbar(colours, cax=drawing.add_axes(place)), scale.get("colorbar", {})
    if "tickvals" in given:
        bar.set_ticks(list(given["tickvals"]), labels=list(given["ticktext"]))
    if title := given.get("title", {}).get("text"):
        bar.set_label(_plain(title), parse_math=False)


def _share_ranges(panels: Mapping[tuple[str, str], "Axes"], layout: Mapping[str, Any]) -> None:
    """Give axes that match one another the range of all of them."""
    for side in (0, 1):
        which = "xy"[side]
        shared: dict[str, list[Axes]] = {}
        for name, axes in panels.items():
            shared.setdefault(_axis(layout, name[side]).get("matches", name[side]), []).append(axes)
        for members in shared.values():
            ends = [getattr(axes, f"get_{which}lim")() for axes in members]
            if len(members) > 1 and all(low < high for low, high in ends):
                low, high = min(low for low, _ in ends), max(high for _, high in ends)
                for axes in members:
                    getattr(axes, f"set_{which}lim")(low, high)


def _finish(axes: "Axes", layout: Mapping[str, Any], name: tuple[str, str]) -> None:
    """Scales, ranges, ticks, titles and lines across."""
    for each, which in zip(name, (axes.xaxis, axes.yaxis), strict=True):
        axis = _axis(layout, each)
        scaled = each[0]
        if axis.get("type") == "log":
            getattr(axes, f"set_{scaled}scale")("log")
        if "range" in axis:
            low, high = (10**end if axis.get("type") == "log" else end for end in axis["range"])
            getattr(axes, f"set_{scaled}lim")(low, high)
        if "tickvals" in axis:
            texts = [_plain(str(text)) for text in axis.get("ticktext", axis["tickvals"])]
            getattr(axes, f"set_{scaled}ticks")(list(axis["tickvals"]), texts)
            getattr(axes, f"set_{scaled}ticks")([], minor=True)
        if axis.get("autorange") == "reversed":
            getattr(axes, f"invert_{scaled}axis")()
        if text := (axis.get("title") or {}).get("text"):
            which.set_label_text(_plain(text), parse_math=False)
        if axis.get("showticklabels") is False:
            which.set_tick_params(labelleft=False, labelbottom=False)
        if axis.get("showgrid") is not False:
            which.grid(visible=True, color="#d9d9d9", linewidth=0.5)
    axes.set_axisbelow(True)
    for shape in layout.get("shapes", ()):
        if shape.get("yref", "y") == name[1] and shape["y0"] == shape["y1"]:
            axes.axhline(shape["y0"], color=GREY, linestyle=_DASHES["dot"], linewidth=1.1)


def _note(
    drawing: Any,
    panels: Mapping[tuple[str, str], "Axes"],
    note: Mapping[str, Any],
    frame: tuple[float, float, float, float],
) -> None:
    """A title of a panel, or the text of a box."""
    left, right, bottom, top = frame
    text = _plain(note["text"])
    if note.get("xref") == "paper":
        place = left + note["x"] * (right - left), bottom + note["y"] * (top - bottom) + 0.005
        drawing.text(*place, text, ha="center", va="bottom", parse_math=False)
    else:
        axes = next(iter(panels.values()))
        colour = note.get("font", {}).get("color", TEXT)
        axes.text(note["x"], note["y"], text, ha="center", va="center", size=7.5, color=colour, parse_math=False)


def _add_legend(drawing: Any, panels: Mapping[tuple[str, str], "Axes"], height: float) -> None:
    labelled = [pair for axes in panels.values() for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    by_name = {name: handle for handle, name in reversed(labelled)}
    names = list(dict.fromkeys(name for _, name in labelled))
    if names:
        handles = [by_name[name] for name in names]
        legend = drawing.legend(
            handles, names, loc="upper right", ncols=min(6, len(names)), frameon=False, fontsize=8,
            bbox_to_anchor=(0.995, 1 - 2 / height),
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def _plain(text: str) -> str:
    """A text for plotly without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", text.replace("<br>", "\n")))


def _colour(text: str) -> Any:
    """A colour as matplotlib takes it."""
    if found := re.fullmatch(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", str(text)):
        return (*(int(part) / 255 for part in found.groups()[:3]), float(found[4]))
    return text

"""Figures of the report as small PNG files, for a README.

    write_pictures(results, Path("experiments/vanishing/digits"))     # profile-h.png, half-life-h.png, …

A headless Chromium draws all of them in one start; nothing else is needed.
"""

import base64
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from undertow.errors import RequestError, UndertowError
from undertow.report._plotly import figures_json, plotly_script
from undertow.report.charts.chart import Chart, standalone_figure
from undertow.report.charts.profiles import BUTTONS
from undertow.report.charts.sections import sections
from undertow.report.grouping import group_results
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Commands that can draw; the first one in PATH is used."""

MAX_BYTES = 150_000
"""Size of a file; a larger picture is drawn at a smaller scale."""

_SECTIONS = ("profiles", "heatmaps", "scores", "lengths")
_TIMEOUT = 120  # seconds for all pictures

_PAGE = """<!doctype html><meta charset="utf-8"><body><script>{plotly}</script><script>
(async () => {{
  for (const [name, figure] of Object.entries({figures})) {{
    const image = document.createElement("p");
    image.id = name;
    for (let scale = 1; scale > 0.3; scale *= 0.8) {{
      image.textContent = await Plotly.toImage(figure, {{format: "png", scale}});
      if (image.textContent.length * 3 / 4 < {max_bytes}) break;
    }}
    document.body.append(image);
  }}
}})();
</script>"""


def write_pictures(results: StudyResults, folder: Path) -> list[Path]:
    """Write the gradient profiles, the heat maps, the scores and those at other lengths, each below 150 kB.

    Args:
        results: The study.
        folder: Where they are written; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        RequestError: There is no Chromium.
        UndertowError: Chromium could not draw them.
    """
    wanted = [section for section in sections(group_results(results)) if section.name in _SECTIONS]
    charts = [chart for section in wanted for chart in section.charts if chart.figure is not None]
    if not charts:
        return []
    pictures = _draw({chart.name: _picture(chart) for chart in charts})
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        path.write_bytes(picture)
        written.append(path)
    return written


def _picture(chart: Chart) -> "Figure":
    """The figure at a fixed width, without buttons."""
    figure = standalone_figure(chart)
    figure.update_layout(width=640 if chart.half else 1100)
    if figure.layout.updatemenus:
        figure.layout.updatemenus = ()
        figure.update_layout(height=figure.layout.height - BUTTONS, margin_b=figure.layout.margin.b - BUTTONS)
    return figure


def _draw(figures: "Mapping[str, Figure]") -> dict[str, bytes]:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise RequestError(
            "pictures are drawn by Chromium, and there is none in PATH. Install it, for example with "
            "`apt install chromium`, or save the figures from the report in a browser."
        )
    page = _PAGE.format(plotly=plotly_script(), figures=figures_json(figures), max_bytes=MAX_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "figures.html"
        file.write_text(page, encoding="utf-8")
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={scratch}/profile", "--virtual-time-budget=60000", "--dump-dom", file.as_uri()),
        ]
        try:
            finished = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise UndertowError(f"{browser} drew no pictures within {_TIMEOUT} seconds") from None
    pictures = dict(re.findall(r'<p id="([^"]+)">data:image/png;base64,([^<]+)</p>', finished.stdout))
    if pictures.keys() != figures.keys():
        missing = ", ".join(sorted(figures.keys() - pictures.keys()))
        raise UndertowError(f"{browser} could not draw {missing}:\n{finished.stderr}")
    return {name: base64.b64decode(picture) for name, picture in pictures.items()}

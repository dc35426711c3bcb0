"""Pictures of the figures, for a README: small PNG files.

    write_pictures(results, Path("experiments/vanishing/digits"))     # profile-h.png, half-life-h.png, …

A Chromium without a window draws them, all in one start; nothing else is needed.
"""

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from undertow.errors import RequestError, UndertowError
from undertow.report.charts.chart import titled
from undertow.report.charts.profiles import BUTTONS
from undertow.report.charts.sections import sections
from undertow.report.groups import arrange
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Commands that can draw, the first found is taken."""

LARGEST = 150_000
"""Bytes of a picture; one that takes more is drawn smaller."""

_DRAWN = ("profiles", "heatmaps", "scores", "lengths")
_PATIENCE = 120  # seconds for all pictures

_PAGE = """<!doctype html><meta charset="utf-8"><body><script>{plotly}</script><script>
(async () => {{
  for (const [name, drawn] of Object.entries({drawn})) {{
    const image = document.createElement("p");
    image.id = name;
    for (let scale = 1; scale > 0.3; scale *= 0.8) {{
      image.textContent = await Plotly.toImage(drawn, {{format: "png", scale}});
      if (image.textContent.length * 3 / 4 < {largest}) break;
    }}
    document.body.append(image);
  }}
}})();
</script>"""


def write_pictures(results: StudyResults, folder: Path) -> list[Path]:
    """Write the gradient profiles, the heat maps, the scores and those at other lengths, each below 150 kB.

    Args:
        results: The study.
        folder: Where to; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        RequestError: There is no Chromium.
        UndertowError: It could not draw.
    """
    drawable = [section for section in sections(arrange(results)) if section.name in _DRAWN]
    charts = [chart for section in drawable for chart in section.charts if chart.figure is not None]
    if not charts:
        return []
    drawn = {}
    for chart in charts:
        figure = titled(chart)
        figure.update_layout(width=640 if chart.half else 1100)
        if figure.layout.updatemenus:  # a picture has no buttons, and no room for them
            figure.layout.updatemenus = ()
            figure.update_layout(height=figure.layout.height - BUTTONS, margin_b=figure.layout.margin.b - BUTTONS)
        drawn[chart.name] = figure
    pictures = _png(drawn)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        path.write_bytes(picture)
        written.append(path)
    return written


def _png(drawn: "Mapping[str, Figure]") -> dict[str, bytes]:
    from plotly.offline import get_plotlyjs

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise RequestError(
            "pictures are drawn by Chromium, and there is none in PATH. Install it, with `apt install chromium` for "
            "one, or save the figures from the report, which needs a browser only to be looked at."
        )
    data = json.dumps({name: json.loads(figure.to_json()) for name, figure in drawn.items()}).replace("<", "\\u003c")
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "figures.html"
        page.write_text(_PAGE.format(plotly=get_plotlyjs(), drawn=data, largest=LARGEST), encoding="utf-8")
        command = [
            *(found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={scratch}/profile", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise UndertowError(f"{found} drew no pictures within {_PATIENCE} seconds") from None
    pictures = dict(re.findall(r'<p id="([^"]+)">data:image/png;base64,([^<]+)</p>', done.stdout))
    if pictures.keys() != drawn.keys():
        raise UndertowError(
            f"{found} could not draw {', '.join(sorted(drawn.keys() - pictures.keys()))}:\n{done.stderr}"
        )
    return {name: base64.b64decode(picture) for name, picture in pictures.items()}

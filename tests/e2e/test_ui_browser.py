"""The MLflow UI in a real browser: what `undertow ui` shows of three cells is three curves in one chart."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import undertow

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DIGITS = Path(__file__).parents[2] / "experiments" / "smoke" / "digits.yaml"
CELLS = ("rnn", "lstm", "gru")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

CLOSE_THE_ASSISTANT = """
    localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
    localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""

CURVES = """
    title => {
        const cards = [...document.querySelectorAll('[data-testid="experiment-view-compare-runs-card"]')];
        const card = cards.find(card => card.innerText.split('\\n')[0] === title);
        const plot = card?.querySelector('.js-plotly-plot');
        const lines = [...plot?.querySelectorAll('.scatterlayer .trace .js-line') ?? []];
        const drawn = new Set(lines.map(line => line.getAttribute('d'))).size;
        return drawn < 3 ? null : {
            drawn: drawn,
            lags: Object.fromEntries(plot.data.map(trace => [trace.name, trace.x])),
        };
    }
"""
"""Of the chart with this title, once three curves are drawn: their number, and the steps of each by its run.

MLflow draws each curve twice, with markers and without, so it is the distinct ones that count.
"""


@pytest.fixture
def charts(home: Path) -> Iterator[str]:
    """The address that `undertow ui` prints for three recorded runs."""
    for cell in CELLS:
        short = [f"cell.name={cell}", "train.max_steps=20", "train.val_every=10", "train.val_examples=64"]
        assert undertow.run(DIGITS, set=short, home=home, progress=False).shipped
    server = subprocess.Popen(
        [sys.executable, "-m", "undertow.cli", "ui", "--port", "5700"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    with server:
        yield server.stdout.readline().split()[1]
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def test_gradients_of_three_cells_overlay_in_one_chart(charts: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium", args=FLAGS
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.add_init_script(CLOSE_THE_ASSISTANT)
        page.goto(charts)
        page.get_by_placeholder("Search metric charts").fill("by_lag$", timeout=90_000)
        found = page.wait_for_function(CURVES, arg="gradient/h/by_lag", timeout=90_000).json_value()
        page.screenshot(path=tmp_path / "charts.png")
        browser.close()
    assert found["drawn"] == 3
    assert set(found["lags"]) == {f"{cell}-T64-s0" for cell in CELLS}
    for lags in found["lags"].values():
        assert (lags[0], lags[-1]) == (1, 63)

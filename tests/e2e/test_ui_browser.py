"""`undertow ui` in a real browser: curves of three cells in one chart, a saved view, the dashboard of a study."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import undertow
from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.mlflow.views import chart_view

if TYPE_CHECKING:
    from playwright.sync_api import Page

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
"""Wait until the chart with this title has three curves; return their number, and the steps of each by its run.

MLflow draws each curve twice, with and without markers, so only distinct curves are counted.
"""


LAGS = (1, 2, 4, 8, 16, 32, 63)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three trained runs, the records of a study without training, and an Optuna study."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERTOW_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("UNDERTOW_STUDY_URI", raising=False)
        patch.chdir(folder)
        for cell in CELLS:
            short = [f"cell.name={cell}", "train.max_steps=20", "train.val_every=10", "train.val_examples=64"]
            assert undertow.run(DIGITS, set=short, home=folder, progress=False).shipped
        write_study(folder)
        yield folder


def write_study(home: Path) -> None:
    """Record a parent run with a saved view, two children for each cell, and a run that is not a child."""
    parent = RunFolder.create(home, "waves", experiment="vanishing", uri=None, config_yaml="")
    view = chart_view(
        "waves: gradients by cell",
        group_by="cell.name",
        metrics=["gradient/h/by_lag", "gradient/c/by_lag"],
        search="tags.`undertow.study` = 'waves'",
        mlflow_version="3.17.2",
    )
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity, tags={"undertow.study": "waves"})
        outbox.experiment_tags(view)
        outbox.status("FINISHED")
    parent.release()
    for cell, slope in zip(CELLS, (0.1, 0.01, 0.03), strict=True):
        for seed in (0, 1):
            write_run(home, cell, seed, slope, "waves", parent.identity.uuid)
    write_run(home, "minimal", 0, 0.2, "ripples", "")
    assert not any(result.left for result in sync(home))
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{home / 'optuna.db'}")
    study = optuna.create_study(storage=storage, study_name="waves")
    study.optimize(lambda trial: trial.suggest_float("optim.lr", 0, 1), n_trials=3)
    storage.remove_session()
    storage.engine.dispose()


def write_run(home: Path, cell: str, seed: int, slope: float, study: str, parent: str) -> None:
    """Record a run whose gradient, at each lag, is `-slope * lag - seed`."""
    folder = RunFolder.create(
        home, f"{cell}-T64-s{seed}", experiment="vanishing", uri=None, config_yaml="", parent=parent
    )
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, params={"cell.name": cell, "seed": seed}, tags={"undertow.study": study})
        outbox.metrics([("gradient/h/by_lag", -slope * lag - seed, lag) for lag in LAGS])
        outbox.metrics([("train/loss", 1.0 / (1 + step), step) for step in range(10)])
        outbox.status("FINISHED")
    folder.release()


@pytest.fixture(scope="module")
def addresses(home: Path) -> Iterator[dict[str, str]]:
    """The addresses that `undertow ui` prints, by name."""
    server = subprocess.Popen(
        [sys.executable, "-m", "undertow.cli", "ui", "--port", "5700"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    with server:
        found: dict[str, str] = {}
        for line in server.stdout:
            name, _, address = line.rstrip().rpartition(": ")
            found[name] = address
            if name == "study waves":
                break
        yield found
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


@pytest.fixture
def page() -> Iterator["Page"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium", args=FLAGS
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.add_init_script(CLOSE_THE_ASSISTANT)
        yield page
        browser.close()


def test_gradients_of_three_cells_overlay_in_one_chart(addresses: dict[str, str], page: "Page", tmp_path: Path) -> None:
    page.goto(addresses["smoke"])
    page.get_by_placeholder("Search metric charts").fill("by_lag$", timeout=90_000)
    found = page.wait_for_function(CURVES, arg="gradient/h/by_lag", timeout=90_000).json_value()
    page.screenshot(path=tmp_path / "charts.png")
    assert found["drawn"] == 3
    assert set(found["lags"]) == {f"{cell}-T64-s0" for cell in CELLS}
    for lags in found["lags"].values():
        assert (lags[0], lags[-1]) == (1, 63)


MEANS = """
    title => {
        const cards = [...document.querySelectorAll('[data-testid="experiment-view-compare-runs-card"]')];
        const plot = cards[0]?.querySelector('.js-plotly-plot');
        const curves = (plot?.data ?? []).filter(trace => trace.x.length && !trace.x.includes(null));
        return cards[0]?.innerText.split('\\n')[0] !== title || curves.length < 3 ? null : {
            curves: curves.map(trace => [trace.x, trace.y]),
            page: document.body.innerText,
        };
    }
"""
"""Wait until the first chart has this title and three curves that are not bands; return them, and the page's text."""


def test_a_saved_view_opens_with_the_curves_grouped_by_cell(
    addresses: dict[str, str], page: "Page", tmp_path: Path
) -> None:
    page.goto(addresses["vanishing, waves: gradients by cell"])
    found = page.wait_for_function(MEANS, arg="gradient/h/by_lag", timeout=90_000).json_value()
    page.screenshot(path=tmp_path / "view.png")
    ends = {round(values[-1], 6) for steps, values in found["curves"] if tuple(steps) == LAGS}
    assert ends == {round(-slope * 63 - 0.5, 6) for slope in (0.1, 0.01, 0.03)}, "the mean of two seeds, for each cell"
    assert all(f"Group: {cell}" in found["page"] for cell in CELLS)
    assert "minimal" not in found["page"], "the view has only the runs of the study"


@pytest.mark.long
def test_the_dashboard_opens_on_a_study(addresses: dict[str, str], page: "Page", tmp_path: Path) -> None:
    page.goto(addresses["study waves"])
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length > 0", timeout=90_000)
    page.get_by_text("waves (id=1)").first.wait_for(timeout=30_000)
    page.screenshot(path=tmp_path / "dashboard.png")

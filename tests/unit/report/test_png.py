"""What needs a browser: the PNG files, and the page drawn without a network."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.config.space import Space
from undertow.errors import RequestError
from undertow.report import write_pictures, write_report
from undertow.report.results import StudyResults

Make = Callable[..., StudyResults]

DRAWN = """
    () => [...document.querySelectorAll("[data-plot]")].map(
        canvas => [canvas.dataset.plot, canvas.querySelectorAll(".main-svg").length > 0, canvas.clientWidth])
"""

LEFTS = """
    () => { const layout = document.querySelector("[data-plot=profile-input]")._fullLayout;
            return Object.keys(layout).filter(name => /^xaxis/.test(name)).map(name => layout[name]._offset); }
"""


@pytest.mark.browser
def test_pictures_are_small_png_files(whole: StudyResults, tmp_path: Path) -> None:
    written = write_pictures(whole, tmp_path / "pictures")
    assert [path.stem for path in written] == [
        *("profile-input", "profile-h", "profile-c"),
        *("val-loss-by-length", "test-loss-by-length", "val-loss-by-half-life"),
        *("val-loss", "test-loss", "half-life-input", "tenth-life-input", "reach-input", "at-cue-input"),
    ]
    for path in written:
        picture = path.read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert 5_000 < len(picture) < 150_000


@pytest.mark.browser
def test_a_picture_beyond_the_limit_is_drawn_at_a_smaller_scale(
    whole: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.report.png.MAX_BYTES", 40_000)
    sizes = {path.stem: path.stat().st_size for path in write_pictures(whole, tmp_path)}
    assert max(sizes.values()) < 40_000


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_draws_every_figure_loads_nothing_and_fits_a_phone(whole: StudyResults, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = write_report(whole, tmp_path / "report.html")
    requests: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        view = browser.new_page(viewport={"width": 400, "height": 800})
        view.on("request", lambda request: requests.append(request.url))
        view.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.goto(path.as_uri())
        view.wait_for_function(f"({DRAWN})().filter(([name, drawn]) => drawn).length >= 4")
        at_first = [name for name, done, _ in view.evaluate(DRAWN) if done]
        view.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        view.wait_for_function(f"({DRAWN})().every(([name, drawn]) => drawn)")
        drawn = view.evaluate(DRAWN)
        lefts = view.evaluate(LEFTS)
        width = view.evaluate("document.documentElement.scrollWidth")
        view.close()
        wide = browser.new_page(viewport={"width": 1400, "height": 900})
        wide.goto(path.as_uri())
        wide.wait_for_function(f"({DRAWN})().filter(([name, drawn]) => drawn).length >= 4")
        height = wide.evaluate("document.documentElement.scrollHeight")
        pages = len(re.findall(rb"/Type\s*/Page[^s]", wide.pdf(format="A4", prefer_css_page_size=True)))
        wide.close()
        browser.close()
    assert height < 6000
    assert pages <= 6  # of sixteen rows of results and four lengths
    assert requests == [path.as_uri()]
    assert errors == []
    assert at_first == ["learning", "profile-input", "val-loss-by-length", "test-loss-by-length"]
    assert len(drawn) > 15
    assert len(lefts) == 4  # of the panels of a profile, one for each length
    assert max(lefts) - min(lefts) < 2  # they stand below one another
    assert width <= 400


def test_without_a_browser_the_error_names_the_remedy(
    whole: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="apt install chromium"):
        write_pictures(whole, tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_a_study_without_a_complete_run_has_no_pictures(make_study: Make, tmp_path: Path) -> None:
    space = Space({"cell.name": ("rnn", "gru")}, {})
    results = make_study(space, states={str(each): ("failed", "") for each in space.combinations()})
    assert write_pictures(results, tmp_path) == []

"""The page: whole and alone, honest about what is missing, and no door for what users wrote."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from undertow.config.space import Space
from undertow.report import write_report
from undertow.report.groups import arrange
from undertow.report.page import page
from undertow.report.results import StudyResults
from undertow.report.summary import answer

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


class Elements(HTMLParser):
    """What a page is made of: tags with their attributes, the texts outside of scripts, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._within = ""
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif self._within != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def html(whole: StudyResults) -> str:
    return page(whole)


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(html)


def embedded(elements: Elements) -> dict[str, dict[str, object]]:
    """The figures that the page draws."""
    (line,) = [line for line in elements.scripts[-1].splitlines() if line.startswith("const plots = ")]
    plots: dict[str, dict[str, object]] = json.loads(line.removeprefix("const plots = ").removesuffix(";"))
    return plots


def test_the_report_is_written_where_it_is_wanted(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(make_study(make_grid(cells=("rnn",), lengths=(64,))), path) == path
    assert path.read_text().startswith("<!doctype html>")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_nothing_is_loaded_from_elsewhere(elements: Elements) -> None:
    loaded = [value for _, attrs in elements.tags for name, value in attrs.items() if name in ("src", "srcset", "data")]
    links = [attrs["href"] for _, attrs in elements.tags if "href" in attrs]
    assert loaded == []
    assert [link for link in links if not (link or "").startswith("#")] == []
    assert not {"link", "iframe", "img", "object", "embed"} & {tag for tag, _ in elements.tags}


def test_the_page_forbids_itself_to_load_anything(elements: Elements) -> None:
    policy = next(attrs["content"] for tag, attrs in elements.tags if attrs.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_plotly_is_inside_once(html: str) -> None:
    from plotly.offline import get_plotlyjs

    start = get_plotlyjs()[:200]
    assert html.count(start) == 1
    assert len(html) < len(get_plotlyjs()) + 1_000_000


def test_every_link_of_the_contents_leads_to_a_heading(elements: Elements) -> None:
    ids = [attrs["id"] for _, attrs in elements.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {(attrs["href"] or "").removeprefix("#") for tag, attrs in elements.tags if tag == "a"} <= set(ids)


def test_headings_go_down_a_level_at_a_time(elements: Elements) -> None:
    levels = [int(tag[1]) for tag, _ in elements.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_place_for_a_figure_has_one(elements: Elements) -> None:
    places = [attrs["data-plot"] for _, attrs in elements.tags if "data-plot" in attrs]
    assert sorted(embedded(elements)) == sorted(map(str, places))
    assert {"profile-h", "profile-c", "half-life-h", "training-h", "importances"} <= set(places)


def test_every_figure_has_words_for_those_who_do_not_see_it(elements: Elements) -> None:
    labels = [attrs.get("aria-label") for _, attrs in elements.tags if "data-plot" in attrs]
    assert all(label and len(label) > 20 for label in labels)


def test_question_configuration_versions_and_commands_are_there(elements: Elements, whole: StudyResults) -> None:
    assert whole.question in elements.text
    assert all(key in elements.text and value in elements.text for key, value in whole.facts.items())
    assert "undertow study run vanishing-digits.yaml undertow study report vanishing-digits" in elements.text
    assert "undertow run RUN_FOLDER/config.yaml" in elements.text
    assert f"undertow run {whole.combinations[0].folder}/config.yaml" in elements.text
    assert " ".join(whole.config_yaml.split()) in elements.text


def test_the_configuration_can_be_copied_out(html: str, whole: StudyResults) -> None:
    shown = [text for text in re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL) if "question" in text]
    assert yaml.safe_load(shown[0]) == yaml.safe_load(whole.config_yaml)


def test_what_has_no_result_is_listed_with_its_reason(elements: Elements) -> None:
    assert "gru 512 1 failed 1 120 out of memory: 2.1 GiB asked for, 2 allowed" in elements.text
    assert "rnn 512 0 pruned 1 120 gradient at the cue below 1e-12" in elements.text
    assert "rnn 512 2 missing 0 0 never tried" in elements.text


def test_the_answer_says_where_the_study_stands_and_who_is_best(whole: StudyResults) -> None:
    digest = arrange(whole)
    said = answer(digest)
    assert said[0] == "44 of 48 combinations complete; 1 failed, 2 pruned and 1 missing, listed below."
    best = min(("rnn", "lstm", "gru", "ugrnn"), key=lambda line: digest.at(line, "128").estimates["val/loss"].value)  # type: ignore[union-attr]
    assert said[2].startswith(f"length 128: best val/loss: {best}, ")
    assert re.search(r"the gradient of h halves in [\d.]+ \(rnn\) to [\d.]+ steps \(lstm\)", said[2])


def test_the_answer_says_where_gradients_grow(make_study: Make, make_grid: Grid) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=1)
    said = answer(arrange(make_study(space, grows=("cell.name=gru task.length=64 seed=0",))))
    assert "the gradient of h halves in" in said[1]
    assert "that of gru grows with the lag" in said[1]


# --- what users wrote ------------------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script>"


def test_no_text_of_users_becomes_a_tag(make_study: Make) -> None:
    space = Space({"cell.name": (EVIL, "rnn"), "task.length": (64, 128), "seed": (0, 1)}, {})
    results = make_study(
        space,
        name=f"study {EVIL}",
        question=f"What of {EVIL} & 'quotes\"?",
        states={f"cell.name={EVIL} task.length=128 seed=0": ("failed", f"ValueError: {EVIL}</pre>")},
    )
    html = page(replace(results, config_yaml=f"question: {EVIL}</pre>{EVIL}", facts={EVIL: EVIL}))
    elements = Elements(html)
    assert EVIL not in html
    assert len(elements.scripts) == 2
    assert elements.text.count("alert(1)") > 5
    assert f"What of {EVIL} & 'quotes\"?" in elements.text


def test_figures_take_no_commands_from_names(make_study: Make) -> None:
    space = Space({"cell.name": ("<b>bold</b>", "rnn"), "task.length": (64, 128), "seed": (0, 1)}, {})
    plots = embedded(Elements(page(make_study(space))))
    assert "&lt;b&gt;bold&lt;/b&gt;" in json.dumps(plots["profile-h"])
    assert "<b>bold" not in json.dumps(plots["profile-h"]) + json.dumps(plots["val-loss"])


def test_no_figure_can_end_its_script(make_study: Make) -> None:
    space = Space({"cell.name": ("</script>", "rnn"), "seed": (0, 1)}, {})
    html = page(make_study(space))
    assert len(Elements(html).scripts) == 2


def test_names_with_blanks_are_quoted_in_commands(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64,), seeds=1), name="my study")
    text = Elements(page(results)).text
    assert "undertow study report 'my study'" in text
    assert "undertow study run my-study.yaml" in text
    assert "undertow run '/home/ada/runs/my study/rnn-T64-s0-0/config.yaml'" in text


# --- little, and much ------------------------------------------------------------------------------------------------


def test_a_study_without_a_plan_renders_and_says_so(make_study: Make) -> None:
    text = Elements(page(make_study(Space({"cell.name": ()}, {})))).text
    assert "Nothing has been planned or run yet" in text
    assert "0 complete runs: too few to draw." in text


@pytest.mark.parametrize("state", ["failed", "pruned", "stopped", "running", "waiting", "missing"])
def test_a_study_without_a_complete_run_renders_and_says_so(make_study: Make, make_grid: Grid, state: str) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2)
    results = make_study(space, states={str(each): (state, "for a reason") for each in space.combinations()})
    elements = Elements(page(results))
    assert f"0 of 4 combinations complete; 4 {state}, listed below." in elements.text
    assert "No run is complete, so there is no result to show." in elements.text
    assert elements.text.count("There is no complete run.") == 5
    assert embedded(elements) == {}


def test_one_run_renders_and_says_that_nothing_can_be_compared(make_study: Make) -> None:
    elements = Elements(page(make_study(Space({"cell.name": ("lstm",)}, {}))))
    assert "1 of 1 combination complete." in elements.text
    assert "There is a single combination to show: see the results." in elements.text
    assert "1 complete run: too few to draw." in elements.text
    assert "No test could be made" in elements.text
    assert {"profile-h", "profile-c", "training-h"} <= embedded(elements).keys()


def test_runs_without_gradients_say_what_would_measure_them(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,)))
    bare = tuple(replace(trial, metrics={}, curves={}) for trial in results.combinations)
    text = Elements(page(replace(results, combinations=bare))).text
    assert "add the probe gradient-profile" in text
    assert "add the probe cost" in text


def test_a_search_is_said_to_be_shown_by_its_best_samples(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2, samples=4))
    text = Elements(page(results)).text
    assert "A sampler chose optim.lr." in text
    assert "by its best complete sample by val/loss, not by a mean" in text
    assert text.count("Of the search the best sample at each point, not a mean") == 5
    assert "What the search chose" in text
    best = min(
        (trial for trial in results.combinations if trial.params["cell.name"] == "rnn" and trial.params["seed"] == 0),
        key=lambda trial: trial.values[0],
    )
    assert f"{best.params['optim.lr']:.6g}" in text


def test_a_grid_says_nothing_of_a_search(elements: Elements) -> None:
    assert "sampler" not in elements.text
    assert "What the search chose" not in elements.text


@pytest.mark.slow
def test_two_thousand_trials_take_seconds_and_megabytes(make_study: Make, make_grid: Grid, slowness: float) -> None:
    results = make_study(make_grid(lengths=tuple(range(20, 520, 10)), seeds=10))
    assert len(results.combinations) == 2000
    started = time.process_time()
    html = page(results)
    assert time.process_time() - started < 10 * slowness
    assert len(html.encode()) < 15e6

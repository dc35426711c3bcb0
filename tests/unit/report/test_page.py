"""The page: self-contained, complete about what is missing, and safe against what users wrote."""

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
from undertow.report.grouping import group_results
from undertow.report.page import page
from undertow.report.results import CombinationResult, Objective, StudyResults
from undertow.report.summary import summarize

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


class Elements(HTMLParser):
    """A parsed page: tags with their attributes, the texts outside of scripts, and the scripts."""

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


def test_the_report_is_written_to_the_path(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
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
    assert {"profile-input", "profile-h", "profile-c", "half-life-input", "training-input", "importances"} <= set(
        places
    )


def test_every_figure_has_a_label_for_screen_readers(elements: Elements) -> None:
    labels = [attrs.get("aria-label") for _, attrs in elements.tags if "data-plot" in attrs]
    assert all(label and len(label) > 20 for label in labels)


def test_the_page_has_question_configuration_versions_and_commands(elements: Elements, whole: StudyResults) -> None:
    assert whole.question in elements.text
    assert all(key in elements.text and value in elements.text for key, value in whole.facts.items())
    assert "undertow study run vanishing-digits.yaml undertow study report vanishing-digits.yaml" in elements.text
    assert "undertow run RUN_FOLDER/config.yaml" in elements.text
    assert f"undertow run {whole.combinations[0].folder}/config.yaml" in elements.text
    assert " ".join(whole.config_yaml.split()) in elements.text


def test_the_configuration_can_be_copied_out(html: str, whole: StudyResults) -> None:
    blocks = [text for text in re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL) if "question" in text]
    assert yaml.safe_load(blocks[0]) == yaml.safe_load(whole.config_yaml)


def test_what_has_no_result_is_listed_with_its_reason(elements: Elements) -> None:
    assert "gru 512 1 failed 1 120 out of memory: 2.1 GiB requested, 2 allowed" in elements.text
    assert "rnn 512 0 pruned 1 120 gradient at the cue below 1e-12" in elements.text
    assert "rnn 512 2 missing 0 0 not started" in elements.text


def test_the_summary_gives_the_completion_and_the_best_cell(whole: StudyResults) -> None:
    groups = group_results(whole)
    sentences = summarize(groups)
    assert sentences[0] == "44 of 48 combinations complete; 1 failed, 2 pruned and 1 missing, listed below."
    best = min(("rnn", "lstm", "gru", "ugrnn"), key=lambda line: groups.at(line, "128").estimates["val/loss"].value)  # type: ignore[union-attr]
    assert sentences[2].startswith(f"length 128: best val/loss: {best}, ")
    assert "(median and range, n = 3) (test/loss " in sentences[2]
    assert "guessing 2.3)" in sentences[2]
    assert re.search(r"∂L/∂x has fallen to half at lag [\d.]+ \(rnn\) to [\d.]+ \(lstm\)", sentences[2])


def test_a_gradient_that_grows_is_beyond_the_longest_lag(make_study: Make, make_grid: Grid) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=1)
    sentences = summarize(group_results(make_study(space, grows=("cell.name=gru task.length=64 seed=0",))))
    assert re.search(r"∂L/∂x has fallen to half at lag [\d.]+ \(rnn\) to > 63 \(gru\)", sentences[1])


def with_losses(results: StudyResults, losses: dict[tuple[str, int], float]) -> StudyResults:
    """The study with other losses, by cell and length."""

    def loss(each: CombinationResult) -> float:
        return losses[str(each.params["cell.name"]), int(str(each.params["task.length"]))]

    return replace(results, combinations=tuple(replace(each, values=(loss(each),)) for each in results.combinations))


def test_where_nothing_was_learned_the_answer_says_so_and_names_no_best(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64, 128, 256), seeds=3))
    losses = {
        ("rnn", 64): 0.1,
        ("gru", 64): 2.31,
        ("rnn", 128): 2.3,
        ("gru", 128): 2.28,
        ("rnn", 256): 2.4,
        ("gru", 256): 2.3,
    }
    sentences = summarize(group_results(with_losses(results, losses)))
    assert sentences[1] == (
        "No cell learned at length 128 and 256: all are at the level of guessing (val/loss 2.28 to 2.4, guessing 2.3)."
    )
    assert sentences[2].startswith("length 64: best val/loss: rnn, 0.1 (median and range, n = 3)")
    assert "not better than guessing: gru" in sentences[2]
    assert not any("best" in sentence for sentence in sentences[3:])


def test_one_setting_alone_that_makes_a_cell_learn_is_named_as_an_intervention(
    make_study: Make, make_grid: Grid
) -> None:
    """And the lines that did not learn are named with the lags by which their gradient has fallen."""
    space = make_grid(cells=("rnn", "lstm"), lengths=(64, 128), seeds=2)
    chrono = "cell.options.lstm.chrono"
    results = make_study(replace(space, vary={"cell.name": ("rnn", "lstm"), chrono: (False, True), **space.vary}))
    scored = tuple(
        replace(
            each,
            values=(0.2 if each.params.get(chrono) or each.params["task.length"] == 64 else 2.3,),
            metrics={**each.metrics, "gradient/input/reach": 12.0, "gradient/input/reach_censored": 0.0},
        )
        for each in results.combinations
    )
    sentences = summarize(group_results(replace(results, combinations=scored)))
    assert [sentence for sentence in sentences if "intervention" in sentence] == [
        "An intervention at length 128: lstm · chrono=true learned (val/loss 0.2), lstm · chrono=false did not (2.3); "
        "they differ by cell.options.lstm.chrono alone."
    ]
    (at_128,) = [sentence for sentence in sentences if sentence.startswith("length 128")]
    lost = "not better than guessing: rnn and lstm · chrono=false (∂L/∂x has fallen to a thousandth by lag 12)"
    assert lost in at_128


def test_a_score_is_held_against_the_most_frequent_class(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64,)), objectives=(Objective("val/accuracy", "maximize"),))
    constant = tuple(
        replace(each, values=(0.12,), metrics={**each.metrics, "task/trivial_accuracy": 0.11})
        for each in results.combinations
    )
    sentences = summarize(group_results(replace(results, combinations=constant)))
    assert sentences[1] == (
        "rnn has not learned anything at length 64: it is at the level of guessing (val/accuracy 0.12, guessing 0.11)."
    )


def test_where_guessing_is_not_known_scores_are_compared_alone(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,)))
    bare = tuple(
        replace(each, metrics={k: v for k, v in each.metrics.items() if k != "task/trivial_loss"})
        for each in results.combinations
    )
    sentences = summarize(group_results(replace(results, combinations=bare)))
    assert "best val/loss: gru" in sentences[1]
    assert "guessing" not in sentences[1]


# --- what users wrote ------------------------------------------------------------------------------------------------

TAG = "<script>alert(1)</script>"


def test_no_text_of_users_becomes_a_tag(make_study: Make) -> None:
    space = Space({"cell.name": (TAG, "rnn"), "task.length": (64, 128), "seed": (0, 1)}, {})
    results = make_study(
        space,
        name=f"study {TAG}",
        question=f"What of {TAG} & 'quotes\"?",
        states={f"cell.name={TAG} task.length=128 seed=0": ("failed", f"ValueError: {TAG}</pre>")},
    )
    html = page(replace(results, config_yaml=f"question: {TAG}</pre>{TAG}", facts={TAG: TAG}))
    elements = Elements(html)
    assert TAG not in html
    assert len(elements.scripts) == 2
    assert elements.text.count("alert(1)") > 5
    assert f"What of {TAG} & 'quotes\"?" in elements.text


def test_figures_show_names_as_they_are_written(make_study: Make) -> None:
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
    assert "undertow study report my-study.yaml" in text
    assert "undertow study run my-study.yaml" in text
    assert "undertow run '/home/ada/runs/my study/rnn-T64-s0-0/config.yaml'" in text


# --- empty, small and large studies ---------------------------------------------------------------------------------


def test_a_study_without_combinations_renders_and_says_so(make_study: Make) -> None:
    text = Elements(page(make_study(Space({"cell.name": ()}, {})))).text
    assert "The study has no combination" in text
    assert "0 complete runs: too few to draw." in text


@pytest.mark.parametrize("state", ["failed", "pruned", "stopped", "running", "waiting", "missing"])
def test_a_study_without_a_complete_run_renders_and_says_so(make_study: Make, make_grid: Grid, state: str) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2)
    results = make_study(space, states={str(each): (state, "for a reason") for each in space.combinations()})
    elements = Elements(page(results))
    assert f"0 of 4 combinations complete; 4 {state}, listed below." in elements.text
    assert "No run is complete, so there is no result to show." in elements.text
    assert elements.text.count("There is no complete run.") == 6
    assert embedded(elements) == {}


def test_one_run_renders_and_says_that_nothing_can_be_compared(make_study: Make) -> None:
    elements = Elements(page(make_study(Space({"cell.name": ("lstm",)}, {}))))
    assert "1 of 1 combination complete." in elements.text
    assert "There is a single combination: see the results." in elements.text
    assert "1 complete run: too few to draw." in elements.text
    assert "There is nothing to test" in elements.text
    assert {"profile-h", "profile-c", "training-h"} <= embedded(elements).keys()


def test_runs_without_gradients_name_the_probes_that_measure_them(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,)))
    bare = tuple(replace(each, metrics={}, curves={}) for each in results.combinations)
    text = Elements(page(replace(results, combinations=bare))).text
    assert "add the probe gradient-profile" in text
    assert "add the probe cost" in text


def test_the_page_of_a_search_says_that_it_shows_the_best_samples(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2, samples=4))
    text = Elements(page(results)).text
    assert "A sampler chose optim.lr." in text
    assert "by its best complete sample by val/loss, not by a mean" in text
    assert text.count("The best sample of the search at each point, not a mean") == 6
    assert "Values that the search chose" in text
    best = min(
        (each for each in results.combinations if each.params["cell.name"] == "rnn" and each.params["seed"] == 0),
        key=lambda each: each.values[0],
    )
    assert f"{best.params['optim.lr']:.6g}" in text


def test_the_page_of_a_grid_does_not_mention_a_search(elements: Elements) -> None:
    assert "sampler" not in elements.text
    assert "Values that the search chose" not in elements.text


@pytest.mark.slow
@pytest.mark.long
def test_two_thousand_runs_take_seconds_and_megabytes(make_study: Make, make_grid: Grid, slowness: float) -> None:
    results = make_study(make_grid(lengths=tuple(range(20, 520, 10)), seeds=10))
    assert len(results.combinations) == 2000
    started = time.process_time()
    html = page(results)
    assert time.process_time() - started < 10 * slowness
    assert len(html.encode()) < 15e6


def test_what_is_folded_is_drawn_when_it_is_opened_and_the_answer_is_not_folded(html: str) -> None:
    inside = re.findall(r"<details>.*?</details>", html, re.DOTALL)
    folded = set(re.findall(r'data-plot="([^"]+)"', "".join(inside)))
    shown = set(re.findall(r'data-plot="([^"]+)"', html)) - folded
    assert {"learning", "profile-input", "val-loss-by-length"} <= shown
    assert {"profile-h", "profile-c", "training-input", "importances", "parallel"} <= folded
    assert len(shown) <= 4
    assert 'addEventListener("toggle"' in html
    assert html.index('data-plot="learning"') < html.index('data-plot="profile-input"')


def test_every_figure_has_a_layout_for_narrow_screens(elements: Elements) -> None:
    plots = embedded(elements)
    assert plots
    assert all(plot.get("narrow") for plot in plots.values())


def test_runs_are_linked_to_mlflow_where_their_address_is_known(whole: StudyResults, elements: Elements) -> None:
    address = "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter={run}&workflowType=machine_learning"
    linked = Elements(page(whole, address))
    links = [attrs["href"] for tag, attrs in linked.tags if tag == "a" and "experiments" in str(attrs.get("href"))]
    started = [each for each in whole.combinations if each.state != "missing"]
    assert links == [address.replace("{run}", each.run) for each in started]
    assert "leads to it in MLflow at http://127.0.0.1:5000" in linked.text
    assert not [attrs for tag, attrs in elements.tags if tag == "a" and "experiments" in str(attrs.get("href"))]

"""The answer in sentences: what is complete, which lines learned and score best, how far their gradients reach.

    for sentence in summarize(group_results(results)):
        print(sentence)

Every score is held against that of guessing, where the task states one: a line whose score is no better than that has
not learned, and is never called the best. The sentences say what was measured and with how many replicates. They name
no causes, but say where two lines differ by one setting alone.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from undertow.report.format import count_of, format_number, join_words
from undertow.report.grouping import CELL
from undertow.report.groups import EXCLUDED_STATES, Group, Groups
from undertow.report.guessing import guessing, learned
from undertow.report.quantities import INPUT, Quantity, finite_metric, symbol
from undertow.report.statistics import centre_name, spread_name

_MAX_PANELS = 8  # with a sentence of their own


def summarize(groups: Groups) -> list[str]:
    """A sentence on the state of the study, one on the panels where nothing was learned, and one on each other."""
    sentences = [completion(groups)]
    if groups.searched and groups.complete:
        sentences.append(search_note(groups))
    panels = [panel for panel in groups.panels if any(group.included for group in groups.in_panel(panel))]
    unlearned = [panel for panel in panels if (scored := _scored(groups, panel)) and not _learned(groups, scored)]
    if unlearned:
        sentences.append(_nothing_learned(groups, unlearned))
    for panel in panels[:_MAX_PANELS]:
        clauses = [] if panel in unlearned else [_scores(groups, panel)]
        clauses.append(_reach(groups, panel))
        if known := [clause for clause in clauses if clause]:
            where = groups.panel_title(panel) or (groups.lines[0] if len(groups.lines) == 1 else "overall")
            sentences.append(f"{where}: {'; '.join(known)}.")
    sentences += _interventions(groups)
    if len(panels) > _MAX_PANELS:
        more = count_of(len(panels) - _MAX_PANELS, "more panel")
        sentences.append(f"{more}: see the figures and the table.")
    return sentences


def completion(groups: Groups) -> str:
    """How many combinations are complete, and the states of the others."""
    combinations = groups.results.combinations
    if not combinations:
        return "The study has no combination, so there is nothing to show."
    states = Counter(each.state for each in combinations)
    others = [f"{states[state]:,} {state}" for state in EXCLUDED_STATES if states[state]]
    rest = f"; {join_words(others)}, listed below" if others else ""
    text = f"{states['complete']:,} of {count_of(len(combinations), 'combination')} complete{rest}."
    if not states["complete"]:
        text += " No run is complete, so there is no result to show."
    return text


def search_note(groups: Groups) -> str:
    """How the samples of a search are shown, and the bias that this has."""
    metric = groups.results.objectives[0].metric
    return (
        f"A sampler chose {join_words(list(groups.results.space.search))}. It chooses mostly what scores well, so no "
        "figure or table averages over its samples: each combination of what is varied is shown by its best complete "
        f"sample by {metric}, not by a mean. The more samples there were, the better the best of them looks."
    )


def _scored(groups: Groups, panel: str) -> list[Group]:
    first = groups.objectives[0]
    return [group for group in groups.in_panel(panel) if first.name in group.estimates]


def _learned(groups: Groups, scored: Sequence[Group]) -> list[Group]:
    return [group for group in scored if learned(group, groups.objectives[0])]


def _nothing_learned(groups: Groups, panels: Sequence[str]) -> str:
    """``No cell learned at length 128 and 256: all are at the level of guessing (val/loss 0.167 …).``"""
    first = groups.objectives[0]
    scored = [group for panel in panels for group in _scored(groups, panel)]
    values = sorted(group.estimates[first.name].value for group in scored)
    guesses = sorted({guess for group in scored if (guess := guessing(group, first)) is not None})
    subject = f"No {groups.line_name}" if len(groups.lines) > 1 else f"{groups.lines[0]} has not"
    where = f" at {groups.panel_name} {join_words(list(panels))}" if groups.panel_name else ""
    what = f"{first.label} {_between(values)}, guessing {_between(guesses)}"
    verb = " learned" if len(groups.lines) > 1 else " learned anything"
    all_are = "all are" if len(scored) > 1 else "it is"
    return f"{subject}{verb}{where}: {all_are} at the level of guessing ({what})."


def _scores(groups: Groups, panel: str) -> str:
    """The best line by the first objective, its test score, the next three, and the lines that did not learn."""
    first = groups.objectives[0]
    scored = _scored(groups, panel)
    known = _learned(groups, scored)
    if not known:
        return ""
    known.sort(key=lambda group: group.estimates[first.name].value, reverse=first.better == "high")
    best = known[0]
    text = f"{first.label} {_score(groups, best, first)}" + _beside(groups, best, first)
    if len(groups.lines) > 1:
        text = f"best {first.label}: {best.line}, {_score(groups, best, first)}" + _beside(groups, best, first)
    if len(known) > 1:
        rest = [f"{group.line} {first.text(group.estimates[first.name], spread=False)}" for group in known[1:4]]
        text += f", then {join_words(rest)}" if len(known) <= 4 else f", then {', '.join(rest)} and others"
    if solved := [clause for group in scored if (clause := _solved(group))]:
        text += f"; solved: {join_words(solved)}"
    if lost := [group for group in scored if group not in known]:
        text += f"; not better than guessing: {join_words([group.line for group in lost])}{_vanished(groups, lost)}"
    return text


def _vanished(groups: Groups, lost: Sequence[Group]) -> str:
    """By which lag the gradient by the input of these lines has fallen to a thousandth; empty if one has not."""
    reach = next((each for each in groups.quantities if each.kind == "reach" and each.view == INPUT), None)
    if reach is None or any(reach.name not in each.estimates or _beyond(each, reach) for each in lost):
        return ""
    lags = sorted((each.estimates[reach.name] for each in lost), key=lambda estimate: estimate.value)
    texts = list(dict.fromkeys(reach.text(lag, spread=False) for lag in (lags[0], lags[-1])))
    return f" ({symbol(INPUT)} has fallen to a thousandth by lag {' to '.join(texts)})"


def _interventions(groups: Groups) -> list[str]:
    """A sentence for each pair of lines that differ by one setting of the same cell, of which one learned."""
    first = groups.objectives[0]
    sentences = []
    for panel in groups.panels:
        scored = _scored(groups, panel)
        for with_it, without in permutations(scored, 2):
            differing = [key for key in with_it.params if with_it.params[key] != without.params.get(key)]
            if len(differing) != 1 or CELL in differing or with_it.params.keys() != without.params.keys():
                continue
            if learned(with_it, first) and not learned(without, first):
                score, other = (first.text(each.estimates[first.name], spread=False) for each in (with_it, without))
                where = f" at {groups.panel_title(panel)}" if groups.panel_title(panel) else ""
                sentences.append(
                    f"An intervention{where}: {with_it.line} learned ({first.label} {score}), {without.line} did not "
                    f"({other}); they differ by {differing[0]} alone."
                )
    return sentences


def _solved(group: Group) -> str:
    """The line, with how many of its runs fulfil the task's condition for having solved it; empty if none does."""
    answers = [value for each in group.included if (value := finite_metric(each, "task/solved")) is not None]
    count = sum(value == 1 for value in answers)
    return f"{group.line} ({count} of {len(answers)})" if count else ""


def _score(groups: Groups, group: Group, quantity: Quantity) -> str:
    """A score with what its numbers are: ``0.31 [0.28, 0.35] (median and range, n = 3)``."""
    estimate = group.estimates[quantity.name]
    spread = f"{centre_name(estimate.n)} and {spread_name(estimate.n)}, " if estimate.n > 1 else ""
    return f"{quantity.text(estimate)} ({spread}n = {group.n})"


def _beside(groups: Groups, group: Group, quantity: Quantity) -> str:
    """The test score, and the score of guessing."""
    tested = f"test/{quantity.name.partition('/')[2]}"
    parts = [
        f"{each.label} {each.text(group.estimates[each.name], spread=False)}"
        for each in groups.quantities
        if each.kind == "test" and each.name == tested and each.name in group.estimates
    ]
    if (guess := guessing(group, quantity)) is not None:
        parts.append(f"guessing {format_number(guess)}")
    return f" ({', '.join(parts)})" if parts else ""


def _reach(groups: Groups, panel: str) -> str:
    """From the shortest to the longest half-life of the gradient by the input."""
    lives = [each for each in groups.quantities if each.kind == "half-life" and each.view == INPUT]
    lives = lives or [each for each in groups.quantities if each.kind == "earlier" and "half-life" in each.name]
    if not lives:
        return ""
    quantity = lives[0]
    known = [group for group in groups.in_panel(panel) if quantity.name in group.estimates]
    known.sort(key=lambda group: (_beyond(group, quantity), group.estimates[quantity.name].value))
    if not known:
        return ""
    first, last = known[0], known[-1]
    what = f"{symbol(quantity.view)} has fallen to half at lag"
    if quantity.kind == "earlier":
        what = f"{quantity.label}:"
    shortest, longest = (quantity.text(group.estimates[quantity.name], spread=False) for group in (first, last))
    if len(known) == 1:
        return f"{what} {shortest}" + (f" ({first.line})" if len(groups.lines) > 1 else "")
    if shortest == longest:
        return f"{what} {shortest} for every {groups.line_name}"
    return f"{what} {shortest} ({first.line}) to {longest} ({last.line})"


def _beyond(group: Group, quantity: Quantity) -> bool:
    return "value" in group.estimates[quantity.name].censored


def _between(values: Sequence[float]) -> str:
    """``0.167``, or ``0.16 to 0.17``."""
    texts = list(dict.fromkeys(map(format_number, values)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"

"""The summary in sentences: how many combinations are complete, which line scores best, how long the half-lives are.

    for sentence in summarize(group_results(results)):
        print(sentence)

It says what was measured and with how many seeds, and draws no conclusion.
"""

from collections import Counter

from undertow.report.format import count_of, join_words
from undertow.report.groups import EXCLUDED_STATES, Group, Groups
from undertow.report.quantities import GROWS, Quantity

_MAX_PANELS = 8  # with a sentence of their own


def summarize(groups: Groups) -> list[str]:
    """A sentence on the state of the study, and one on each panel."""
    sentences = [completion(groups)]
    if groups.searched and groups.complete:
        sentences.append(search_note(groups))
    for panel in groups.panels[:_MAX_PANELS]:
        complete = [group for group in groups.in_panel(panel) if group.included]
        clauses = [_best_scores(groups, complete), *(_half_lives(groups, part, complete) for part in groups.parts)]
        if known := [clause for clause in clauses if clause]:
            where = groups.panel_title(panel) or (groups.lines[0] if len(groups.lines) == 1 else "overall")
            sentences.append(f"{where}: {'; '.join(known)}.")
    if len(groups.panels) > _MAX_PANELS:
        more = count_of(len(groups.panels) - _MAX_PANELS, "more panel")
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


def _best_scores(groups: Groups, complete: list[Group]) -> str:
    """The best line by the first objective, and the next three."""
    first = groups.objectives[0]
    scored = [group for group in complete if first.name in group.estimates]
    if not scored:
        return ""
    scored.sort(key=lambda group: group.estimates[first.name].value, reverse=first.better == "high")
    best = scored[0]
    score = f"{first.text(best.estimates[first.name])} (n = {best.n})"
    if len(groups.lines) == 1:
        return f"{first.label} {score}"
    text = f"best {first.label}: {best.line}, {score}"
    if len(scored) > 1:
        rest = [f"{group.line} {first.text(group.estimates[first.name], intervals=False)}" for group in scored[1:4]]
        text += f", then {join_words(rest)}" if len(scored) <= 4 else f", then {', '.join(rest)} and others"
    return text


def _half_lives(groups: Groups, part: str, complete: list[Group]) -> str:
    """The range of half-lives over the lines, and the lines whose gradient grows."""
    quantity = next(each for each in groups.quantities if each.name == f"half-life-{part}")
    rates = sorted(
        ((group.estimates[quantity.name].value, group) for group in complete if quantity.name in group.estimates),
        key=lambda pair: -pair[0],
    )
    if not rates:
        return ""
    growing = [group.line for rate, group in rates if rate <= 0]
    falling = [(rate, group) for rate, group in rates if rate > 0]
    clauses = []
    if falling:
        clauses.append(f"the gradient of {part} halves in {_span(quantity, falling, groups)}")
    if growing:
        verb = GROWS if len(growing) == 1 else "grow"
        subject = "that" if falling else f"the gradient of {part}"
        lines = f" of {join_words(growing)} {verb} with the lag" if len(groups.lines) > 1 else f" {GROWS}"
        clauses.append(subject + lines)
    return ", ".join(clauses)


def _span(quantity: Quantity, falling: list[tuple[float, Group]], groups: Groups) -> str:
    """From the shortest to the longest half-life."""
    (fastest, first), (slowest, last) = falling[0], falling[-1]
    if len(groups.lines) == 1:
        return f"{quantity.format(fastest)} steps"
    if len(falling) == 1:
        return f"{quantity.format(fastest)} steps ({first.line})"
    return f"{quantity.format(fastest)} ({first.line}) to {quantity.format(slowest)} steps ({last.line})"

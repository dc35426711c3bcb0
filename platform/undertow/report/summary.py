"""The short answer in words: where the study stands, who scores best, and how far each gradient reaches.

    for sentence in answer(arrange(results)):
        print(sentence)

It says what was measured and with how many seeds, and leaves the judgement to the reader.
"""

from collections import Counter

from undertow.report.format import count, joined
from undertow.report.groups import LEFT_OUT, Group, Groups
from undertow.report.quantities import GROWS, Quantity

_MOST = 8  # panels told in words


def answer(digest: Groups) -> list[str]:
    """A sentence on the state of the study, and one on each panel."""
    said = [standing(digest)]
    if digest.searched and digest.complete:
        said.append(search_note(digest))
    for panel in digest.panels[:_MOST]:
        groups = [group for line in digest.lines if (group := digest.at(line, panel)) and group.counted]
        sentence = [*_scores(digest, groups), *(_lives(digest, part, groups) for part in digest.parts)]
        if told := [words for words in sentence if words]:
            where = digest.titled(panel) or (digest.lines[0] if len(digest.lines) == 1 else "overall")
            said.append(f"{where}: {'; '.join(told)}.")
    if len(digest.panels) > _MOST:
        said.append(f"{count(len(digest.panels) - _MOST, 'more panel')}: see the figures and the table.")
    return said


def standing(digest: Groups) -> str:
    """How many combinations are complete, and what became of the others."""
    trials = digest.results.combinations
    if not trials:
        return "Nothing has been planned or run yet, so there is nothing to show."
    states = Counter(trial.state for trial in trials)
    others = [f"{states[state]:,} {state}" for state in LEFT_OUT if states[state]]
    left = f"; {joined(others)}, listed below" if others else ""
    text = f"{states['complete']:,} of {count(len(trials), 'combination')} complete{left}."
    if not states["complete"]:
        text += " No run is complete, so there is no result to show."
    return text


def search_note(digest: Groups) -> str:
    """What a search means for everything that is shown by factor."""
    metric = digest.results.objectives[0].metric
    return (
        f"A sampler chose {joined(list(digest.results.space.search))}. It looks where it is good, so no figure or "
        f"table averages over its samples: each combination of what is varied is shown by its best complete sample by "
        f"{metric}, not by a mean, and that flatters it the more samples there were."
    )


def _scores(digest: Groups, groups: list[Group]) -> list[str]:
    first = digest.objectives[0]
    scored = [group for group in groups if first.name in group.estimates]
    if not scored:
        return []
    scored.sort(key=lambda group: group.estimates[first.name].value, reverse=first.better == "high")
    best = scored[0]
    words = f"{first.label} {first.text(best.estimates[first.name])} (n = {best.n})"
    if len(digest.lines) == 1:
        return [words]
    words = f"best {first.label}: {best.line}, {words.removeprefix(first.label + ' ')}"
    if len(scored) > 1:
        rest = [f"{group.line} {first.text(group.estimates[first.name], intervals=False)}" for group in scored[1:4]]
        words += f", then {joined(rest)}" if len(scored) <= 4 else f", then {', '.join(rest)} and others"
    return [words]


def _lives(digest: Groups, part: str, groups: list[Group]) -> str:
    measure = next(each for each in digest.quantities if each.name == f"half-life-{part}")
    found = sorted(
        ((group.estimates[measure.name].value, group) for group in groups if measure.name in group.estimates),
        key=lambda pair: -pair[0],
    )
    if not found:
        return ""
    grow = [group.line for value, group in found if value <= 0]
    fall = [(value, group) for value, group in found if value > 0]
    words = []
    if fall:
        words.append(f"the gradient of {part} halves in {_span(measure, fall, digest)}")
    if grow:
        verb = GROWS if len(grow) == 1 else "grow"
        whose = "that" if fall else f"the gradient of {part}"
        words.append(f"{whose} of {joined(grow)} {verb} with the lag" if len(digest.lines) > 1 else f"{whose} {GROWS}")
    return ", ".join(words)


def _span(measure: Quantity, fall: list[tuple[float, Group]], digest: Groups) -> str:
    first, last = fall[0], fall[-1]
    if len(digest.lines) == 1:
        return f"{measure.show(first[0])} steps"
    if len(fall) == 1:
        return f"{measure.show(first[0])} steps ({first[1].line})"
    return f"{measure.show(first[0])} ({first[1].line}) to {measure.show(last[0])} steps ({last[1].line})"

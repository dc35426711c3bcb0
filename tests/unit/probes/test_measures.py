"""Every number that a shipped probe records is described in its spec, and nothing else is."""

import re
from dataclasses import replace

import pytest

from undertow.nn import isolated
from undertow.plugins.host import load_plugins

REGISTRY = load_plugins()
PROBES = [name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution == "undertow-probes"]
OPTIONS = {"jacobian": {"power_iterations": 1, "vectors": 2}}


def pattern(name: str) -> re.Pattern[str]:
    """What a name in a spec stands for."""
    name = re.sub(r"<(what|gate)>", r"[^/]+(/layer\\d+(/backward)?)?", name)
    name = re.sub(r"<(i|l)>", r"\\d+", name)
    return re.compile(re.sub(r"<\w+>", r"[^/]+", name))


@pytest.mark.parametrize("probe", PROBES)
def test_every_number_is_described_in_one_line(probe: str, make_subject) -> None:
    spec = REGISTRY.probe(probe)
    made = REGISTRY.factory(spec)(spec.options.model_validate(OPTIONS.get(probe, {})))
    names: set[str] = set()
    for cell, settings in (("lstm", {}), ("rnn", {}), ("lstm", {"bidirectional": True})):
        subject = replace(make_subject(cell, layers=2, length=20, settings=settings), seconds_per_step=0.1)
        with isolated(subject.model):
            measurement = made.measure(subject)
        names |= {*measurement.scalars, *measurement.curves}
    described = {each: pattern(each) for each in spec.measures}
    assert [name for name in sorted(names) if not any(each.fullmatch(name) for each in described.values())] == []
    unused = {each for each, matches in described.items() if not any(matches.fullmatch(name) for name in names)}
    assert unused == set()
    assert all("\n" not in line and len(line) < 200 for line in spec.measures.values())

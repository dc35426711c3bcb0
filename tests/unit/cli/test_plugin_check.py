"""`undertow plugin check`: a line for each check, the counts, and an exit code."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from undertow.testing import CellConformance, ProbeConformance

Call = Callable[..., Any]
CHECKS = len(CellConformance.checks())

CELL = """
    import torch
    from torch import nn
    from undertow import Cell, CellSpec, Measurement, Options, Probe, ProbeSpec, hookimpl

    class TideOptions(Options):
        pull: float = 1.0
        \"\"\"How hard the moon pulls.\"\"\"

    class Tide(Cell):
        def __init__(self, input_size, hidden_size, options, length):
            super().__init__(input_size, hidden_size, options, length)
            self.W = nn.Linear(input_size, hidden_size)
            self.U = nn.Linear(hidden_size, hidden_size, bias=False)

        def initial_state(self, batch_size):
            return (self.U.weight.new_zeros(batch_size, self.hidden_size),)

        def project(self, x_TBI):
            print("printed by a plugin")
            return self.W(x_TBI)

        def step(self, z, state):
            return (torch.tanh(z + self.options.pull * self.U(state[0])),)

    class Ebb(Tide):
        def step(self, z, state):
            return (torch.tanh(z + self.U(state[0] - state[0].mean(0))),)

    class Nothing(Probe):
        def measure(self, subject):
            return Measurement()

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(name="tide", summary="Comes.", factory=":Tide", options=TideOptions, state=("level",))
        yield CellSpec(name="ebb", summary="Leaks over the batch.", factory=":Ebb", state=("level",))

    @hookimpl
    def undertow_register_probes():
        yield ProbeSpec(name="tide", summary="Measures nothing.", factory=":Nothing")
"""


@pytest.fixture
def scratch(runs: Path) -> Path:
    path = Path("tide.py")
    path.write_text(dedent(CELL))
    return path


def last_line(outcome: Any) -> str:
    return str(outcome.out.splitlines()[-1])


def test_a_correct_cell_ends_with_its_counts(call: Call, scratch: Path) -> None:
    outcome = call("plugin", "check", "tide", "--kind", "cell", "--plugin", scratch)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == CHECKS + 1
    assert [line.split()[3] for line in lines[:-1]] == CellConformance.checks()
    assert lines[-1].startswith(f"cell tide: {CHECKS} checks, ")
    match = re.search(r"(\d+) ran, (\d+) passed, (\d+) skipped \(", lines[-1])
    assert match
    ran, passed, skipped = map(int, match.groups())
    assert ran == passed == CHECKS - skipped
    assert "no scan" in lines[-1]
    assert "no gates" in lines[-1]
    assert "printed by a plugin" not in outcome.out


def test_a_wrong_cell_fails_with_a_remedy(call: Call, scratch: Path) -> None:
    outcome = call("plugin", "check", "ebb", "--plugin", scratch)
    assert outcome.code == 1
    assert "FAILED" in outcome.out
    assert "Never reduce over the batch." in outcome.out
    assert "1 failed" not in outcome.out or "failed" in last_line(outcome)


def test_the_json_object_has_every_check(call: Call, scratch: Path) -> None:
    document = call("plugin", "check", "tide", "--kind", "cell", "--plugin", scratch, "--json").document
    (plugin,) = document["plugins"]
    assert document["ok"] is plugin["ok"] is True
    assert plugin["declared"] == len(plugin["checks"]) == CHECKS
    assert plugin["ran"] + plugin["skipped"] == CHECKS
    assert plugin["passed"] == plugin["ran"]
    reasons = {each["check"]: each["message"] for each in plugin["checks"] if each["outcome"] == "skipped"}
    assert reasons["scan_equals_steps"] == "no scan"


def test_set_changes_the_options(call: Call, scratch: Path) -> None:
    refused = call("plugin", "check", "tide", "--kind", "cell", "--plugin", scratch, "--set", "pul=2.0")
    assert refused.code == 2
    assert "Did you mean `pull`?" in refused.err
    without_recurrence = call("plugin", "check", "tide", "--kind", "cell", "--plugin", scratch, "--set", "pull=0.0")
    assert without_recurrence.code == 1
    assert re.search(r"FAILED .* gradient_reaches_the_first_step", without_recurrence.out)


def test_a_name_of_two_kinds_needs_kind(call: Call, scratch: Path) -> None:
    outcome = call("plugin", "check", "tide", "--plugin", scratch)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--kind cell" in outcome.err
    probe = call("plugin", "check", "tide", "--kind", "probe", "--plugin", scratch)
    assert probe.code == 0
    assert last_line(probe).startswith(f"probe tide: {len(ProbeConformance.checks())} checks, ")


def test_an_expected_failure_is_counted_with_its_reason(call: Call, scratch: Path) -> None:
    failing = [
        each["check"]
        for each in call("plugin", "check", "ebb", "--plugin", scratch, "--json").document["plugins"][0]["checks"]
        if each["outcome"] == "failed"
    ]
    assert "rows_are_independent" in failing
    expected = [word for check in failing for word in ("--expect-failure", f"{check}=batch statistics")]
    outcome = call("plugin", "check", "ebb", "--plugin", scratch, *expected)
    assert outcome.code == 0
    assert f"{len(failing)} failed as expected (batch statistics)" in last_line(outcome)


def test_an_expected_failure_that_passes_counts_as_failed(call: Call, scratch: Path) -> None:
    words = ("plugin", "check", "tide", "--kind", "cell", "--plugin", scratch, "--expect-failure")
    outcome = call(*words, "pickle_is_equal=for fun")
    assert outcome.code == 1
    assert "1 failed" in last_line(outcome)
    assert "passes: take it out" in outcome.out
    assert "Did you mean `pickle_is_equal`?" in call(*words, "pickle_is_eqal=for fun").err
    assert call(*words, "pickle_is_equal").code == 2


TWO_PROBES = """
    from dataclasses import replace
    from undertow import hookimpl
    from undertow_probes import hooks

    @hookimpl
    def undertow_register_probes():
        for spec in hooks.undertow_register_probes():
            if spec.name in ("saturation", "cost"):
                yield replace(spec, name=f"my-{spec.name}")
"""


def test_everything_in_a_distribution_is_checked(call: Call, install: Callable[[str, str], None]) -> None:
    install("two-probes", TWO_PROBES)
    outcome = call("plugin", "check", "two-probes", "--json")
    assert outcome.code == 0
    checked = outcome.document["plugins"]
    assert {each["name"] for each in checked} == {"my-saturation", "my-cost"}
    assert all(each["kind"] == "probe" and each["ok"] for each in checked)


def test_a_task_is_checked_at_a_length(call: Call) -> None:
    outcome = call("plugin", "check", "adding", "--length", 12)
    assert outcome.code == 0
    assert "measured" in outcome.out
    refused = call("plugin", "check", "adding", "--length", 1)
    assert refused.code == 2
    assert "2 or more" in refused.err
    assert call("plugin", "check", "lstm", "--length", 10).code == 2


def test_an_unknown_name_is_reported_with_the_nearest_one(call: Call) -> None:
    outcome = call("plugin", "check", "lstn")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Did you mean `lstm`?" in outcome.err


def test_a_distribution_that_failed_to_load_is_reported(call: Call, install: Callable[[str, str], None]) -> None:
    install("broken-cells", "raise RuntimeError('cannot start')\n")
    outcome = call("plugin", "check", "broken-cells")
    assert outcome.code == 2
    assert "cannot start" in outcome.err

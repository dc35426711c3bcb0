"""The conformance kit: what every cell, task and probe must do, as checks that their authors run.

Without knowing pytest, by name; the last line counts, and the exit code is 0 only if nothing failed:

    $ undertow plugin check leaky-rnn
    ...
    cell leaky-rnn: 24 checks, 23 ran, 23 passed, 1 skipped (no CUDA device)

In a test suite of one's own, where pytest collects every check as a test:

    from undertow.testing import CellConformance

    class TestLeaky(CellConformance):
        name = "leaky-rnn"
        options = {"leak": 0.3}                                     # when not the defaults
        plugins = ["leaky_rnn.py"]                                  # scratch files; installed plugins are found
        expected_failures = {"survives_autocast": "needs 32 bits"}  # strict: passing is then a failure

From Python:

    from undertow.testing import CellConformance, run_checks

    report = run_checks(CellConformance.of("lstm"))
    print(report.summary)

A check is a method ``test_<check>`` of `CellConformance`, `TaskConformance` or `ProbeConformance`; its docstring says
what it asks, and its failure what was compared, by how much it differs and what to do. A check that has nothing to look
at (no GPU, a cell without gates) is skipped, with the reason, and counted apart. Checks leave torch's random state as
it was and need neither pytest nor any other plugin.
"""

from undertow.testing.cell import CellConformance
from undertow.testing.conformance import Conformance, ExpectedFailure
from undertow.testing.probe import ProbeConformance
from undertow.testing.runner import CheckResult, Report, run_checks
from undertow.testing.task import TaskConformance

__all__ = [
    "CellConformance",
    "CheckResult",
    "Conformance",
    "ExpectedFailure",
    "ProbeConformance",
    "Report",
    "TaskConformance",
    "run_checks",
]

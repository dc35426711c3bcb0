"""The conformance kit: what every cell, block, task, probe, optimiser and callback must do; their authors run it.

On the command line; the last line has the counts, and the exit code is 0 only if no check failed:

    $ undertow plugin check leaky-rnn
    ...
    cell leaky-rnn: 26 checks, 25 ran, 25 passed, 1 skipped (no CUDA device)

In the author's test suite, where pytest collects every check as a test:

    from undertow.testing import CellConformance

    class TestLeaky(CellConformance):
        name = "leaky-rnn"
        options = {"leak": 0.3}                                     # if not the defaults
        plugins = ["leaky_rnn.py"]                                  # scratch files; installed plugins are found
        expected_failures = {"survives_autocast": "needs 32 bits"}  # strict: a check that passes is a failure

From Python:

    from undertow.testing import CellConformance, run_checks

    report = run_checks(CellConformance.of("lstm"))
    print(report.summary)

`expected_failures` is the place to declare what a plugin is not made for, with the reason. A cell whose
replicates cannot be trained side by side, say, because its step depends on the value of a tensor, declares ``packs``.
Runs need no declaration: they find it out.

A check is a method ``test_<check>`` of `CellConformance` or the kit of another kind (`KITS`). Its docstring is the
question that it answers; a failure message has what was compared, the difference and the remedy. A check that does not
apply (no GPU, a cell without gates) is skipped with a reason and counted as skipped. Checks leave torch's random state
as it was, and need neither pytest nor any other plugin.
"""

from collections.abc import Mapping

from undertow.plugins.kinds import KindName
from undertow.testing.block import BlockConformance
from undertow.testing.callback import CallbackConformance
from undertow.testing.cell import CellConformance
from undertow.testing.conformance import Conformance, ExpectedFailure
from undertow.testing.optimizer import OptimizerConformance
from undertow.testing.probe import ProbeConformance
from undertow.testing.runner import CheckResult, Report, run_checks
from undertow.testing.task import TaskConformance

KITS: Mapping[KindName, type[Conformance]] = {
    "cell": CellConformance,
    "block": BlockConformance,
    "task": TaskConformance,
    "probe": ProbeConformance,
    "optimizer": OptimizerConformance,
    "callback": CallbackConformance,
}
"""The kit of each kind."""

__all__ = [
    "KITS",
    "BlockConformance",
    "CallbackConformance",
    "CellConformance",
    "CheckResult",
    "Conformance",
    "ExpectedFailure",
    "OptimizerConformance",
    "ProbeConformance",
    "Report",
    "TaskConformance",
    "run_checks",
]

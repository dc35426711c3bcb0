"""Run the checks of a kit one after the other, independently of each other, and count them.

    report = run_checks(CellConformance.of("lstm"), done=print)
    report.ok, report.summary

Every check that the kit declares ran or was skipped for a reason; anything else is a failure.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import SkipTest

from undertow.testing.conformance import Conformance, ExpectedFailure

Outcome = Literal["passed", "failed", "skipped", "failed as expected"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: Its name.
        outcome: How it ended.
        seconds: Its duration.
        message: Why it failed or was skipped; the remark of a check that passed, mostly empty.
    """

    check: str
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Report:
    """The results of all checks of one plugin object.

    Attributes:
        kind: Its kind, such as `cell`.
        name: Its name.
        declared: The number of checks of the kit.
        results: The results in order.
    """

    kind: str
    name: str
    declared: int
    results: tuple[CheckResult, ...] = field(default=())

    def of(self, outcome: Outcome) -> list[CheckResult]:
        """The results with this outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def ran(self) -> int:
        """The number of checks that were not skipped."""
        return len(self.results) - len(self.of("skipped"))

    @property
    def ok(self) -> bool:
        """Whether no check failed, and every declared check has a result."""
        return not self.of("failed") and len(self.results) == self.declared

    @property
    def summary(self) -> str:
        """One line, such as ``cell leaky-rnn: 26 checks, 25 ran, 25 passed, 1 skipped (no CUDA device)``."""
        parts = [f"{self.declared} checks", f"{self.ran} ran", f"{len(self.of('passed'))} passed"]
        failed = self.of("failed")
        if failed:
            parts.append(f"{len(failed)} failed")
        for outcome in ("failed as expected", "skipped"):
            found = self.of(outcome)
            if found:
                reasons = "; ".join(dict.fromkeys(result.message for result in found))
                parts.append(f"{len(found)} {outcome} ({reasons})")
        missing = self.declared - len(self.results)
        if missing:
            parts.append(f"{missing} never ran")
        return f"{self.kind} {self.name}: {', '.join(parts)}"

    def document(self) -> dict[str, Any]:
        """The report as data for JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "ok": self.ok,
            "declared": self.declared,
            "ran": self.ran,
            "passed": len(self.of("passed")),
            "failed": len(self.of("failed")),
            "failed_as_expected": len(self.of("failed as expected")),
            "skipped": len(self.of("skipped")),
            "summary": self.summary,
            "checks": [
                {
                    "check": result.check,
                    "outcome": result.outcome,
                    "seconds": round(result.seconds, 4),
                    "message": result.message,
                }
                for result in self.results
            ],
        }


def run_checks(
    kit: Conformance,
    *,
    begin: Callable[[str], object] = lambda check: None,
    done: Callable[[CheckResult], object] = lambda result: None,
) -> Report:
    """Run every check of a kit.

    Args:
        kit: From `Conformance.of`, or an instance of a subclass that names its plugin.
        begin: Called with the name of each check before it runs.
        done: Called with each result.

    Returns:
        The report. An error in a check does not stop the others; only Ctrl-C does.
    """
    results: list[CheckResult] = []
    checks = kit.checks()
    for check in checks:
        begin(check)
        results.append(_run(kit, check))
        done(results[-1])
    return Report(kit.kind, kit.name, len(checks), tuple(results))


def _run(kit: Conformance, check: str) -> CheckResult:
    started = time.perf_counter()
    outcome: Outcome = "failed"
    kit.remark = ""
    try:
        getattr(kit, f"test_{check}")()
        outcome, message = "passed", kit.remark
    except ExpectedFailure as failure:
        outcome, message = "failed as expected", str(failure)
    except SkipTest as skip:
        outcome, message = "skipped", str(skip)
    except AssertionError as error:
        message = str(error) or _last_line(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a plugin's code may raise anything, SystemExit too
        message = _last_line(error)
    return CheckResult(check, outcome, time.perf_counter() - started, message)


def _last_line(error: BaseException) -> str:
    """The error, and the file and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"

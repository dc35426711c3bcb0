"""One test per shipped plugin object and set of options runs every check of the kit.

A test per check would be 2,500 tests, and most of their time pytest's. `tests/meta` runs the kit as pytest classes.
"""

from collections.abc import Callable, Iterable

import pytest

from undertow.testing import Conformance, run_checks


@pytest.fixture
def assert_conforms() -> Callable[..., None]:
    """Run all checks; none may fail, and none be skipped for another reason than those given."""

    def assert_conforms(kit: Conformance, reasons_to_skip: Iterable[str]) -> None:
        report = run_checks(kit)
        failed = [f"{result.check}: {result.message}" for result in report.of("failed")]
        assert report.ok, "\n".join([report.summary, *failed])
        assert {result.message for result in report.of("skipped")} <= set(reasons_to_skip)

    return assert_conforms

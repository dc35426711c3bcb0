"""The kit itself: a right plugin passes every check, and for each check a broken one fails that and nothing else."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import undertow.testing
from undertow.plugins.host import load_plugins
from undertow.testing import CellConformance, Conformance, ProbeConformance, TaskConformance, run_checks

HERE = Path(__file__).parent
RIGHT = HERE / "right.py"
KITS: dict[str, type[Conformance]] = {"cell": CellConformance, "task": TaskConformance, "probe": ProbeConformance}
HOOKS = "hooks_import_nothing_heavy"
"""Its broken plugin is `right.py` itself, installed: it has torch beside its hooks."""


def files(kind: str) -> list[Path]:
    return [RIGHT, HERE / f"broken_{kind}s.py"]


def broken(kind: str) -> set[str]:
    offered = getattr(load_plugins(files=files(kind)), f"{kind}s")
    return {name for name, entry in offered.items() if entry.plugin.distribution == str(files(kind)[1])}


def cases() -> list[Any]:
    made = []
    for kind, kit in KITS.items():
        for check in kit.checks():
            marks = [pytest.mark.gpu] if check == "gpu_equals_cpu" else []
            if check != HOOKS:
                made.append(pytest.param(kind, check, marks=marks, id=f"{kind}-{check}"))
    return made


@pytest.mark.parametrize("kind", KITS)
def test_every_check_has_its_broken_plugin_and_no_other_is_left(kind: str) -> None:
    assert broken(kind) == {check.replace("_", "") for check in KITS[kind].checks() if check != HOOKS}


@pytest.mark.parametrize(("kind", "check"), cases())
def test_the_broken_plugin_of_a_check_fails_that_check_alone(kind: str, check: str) -> None:
    report = run_checks(KITS[kind].of(check.replace("_", ""), plugins=files(kind)))
    failed = {result.check: result.message for result in report.of("failed")}
    assert set(failed) == {check}, "\n".join(f"{name}: {message}" for name, message in failed.items())
    assert len(report.results) == report.declared
    assert not report.ok
    assert ", 1 failed" in report.summary


@pytest.mark.parametrize("kind", KITS)
def test_a_right_plugin_passes_every_check_that_applies(kind: str) -> None:
    report = run_checks(KITS[kind].of("right", plugins=[RIGHT]))
    assert report.ok, report.of("failed")
    skipped = {result.check for result in report.of("skipped")}
    gpu = set() if torch.cuda.is_available() or kind != "cell" else {"gpu_equals_cpu"}
    assert skipped == {HOOKS} | gpu
    assert all(KITS[kind].question(check).endswith("?") for check in KITS[kind].checks())


def test_checks_leave_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    for kind, kit in KITS.items():
        run_checks(kit.of("right", plugins=[RIGHT]))
        assert torch.equal(torch.get_rng_state(), before), kind


# --- expected failures, under pytest and without ---------------------------------------------------------------------


class TestGatesOfABrokenCell(CellConformance):
    """As an author would write it; pytest shows the expected failure as a skip with its reason."""

    name = "gatesareinrange"
    plugins = files("cell")
    expected_failures = {"gates_are_in_range": "shows the pre-activation"}  # noqa: RUF012  # as authors write it


def test_an_expected_failure_is_no_failure() -> None:
    report = run_checks(TestGatesOfABrokenCell())
    assert report.ok
    assert [result.check for result in report.of("failed as expected")] == ["gates_are_in_range"]
    assert "1 failed as expected (shows the pre-activation)" in report.summary


def test_an_expected_failure_that_passes_is_one() -> None:
    kit = CellConformance.of("right", plugins=[RIGHT], expected_failures={"pickle_is_equal": "long ago"})
    report = run_checks(kit)
    assert [result.check for result in report.of("failed")] == ["pickle_is_equal"]
    assert "long ago" in report.of("failed")[0].message


@pytest.mark.parametrize(
    ("failures", "said"), [({"pickle": "why"}, "there is no check pickle"), ({"pickle_is_equal": " "}, "say why")]
)
def test_an_expected_failure_needs_a_check_and_a_reason(failures: dict[str, str], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        CellConformance.of("right", plugins=[RIGHT], expected_failures=failures)


def test_a_check_that_is_taken_away_has_failed() -> None:
    kit = CellConformance.of("right", plugins=[RIGHT])
    type(kit).test_learns_to_add = None  # type: ignore[assignment, method-assign]
    report = run_checks(kit)
    assert report.declared == len(CellConformance.checks())
    assert [result.check for result in report.of("failed")] == ["learns_to_add"]


def test_a_plugin_that_exits_is_a_failed_check_and_the_rest_goes_on() -> None:
    class Exits(CellConformance):
        name = "right"
        plugins = (RIGHT,)

        def test_pickle_is_equal(self) -> None:
            raise SystemExit(3)

    report = run_checks(Exits())
    assert [result.check for result in report.of("failed")] == ["pickle_is_equal"]
    assert len(report.results) == report.declared


def test_the_guide_counts_right() -> None:
    assert f"{len(CellConformance.checks())} checks" in (undertow.testing.__doc__ or "")


def test_the_kit_needs_no_pytest() -> None:
    sources = [path.read_text() for path in Path(undertow.testing.__path__[0]).glob("*.py")]
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert "undertow.api.contract" in imported
    assert not {name for name in imported if name and name.split(".")[0] in ("pytest", "_pytest")}


# --- installed, last: from here on the name `right` is taken -------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`right.py` as a distribution of its own."""
    site = tmp_path_factory.mktemp("site")
    (site / "heavy_hooks.py").write_text(RIGHT.read_text())
    info = site / "heavy_hooks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy-hooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[undertow]\nheavy = heavy_hooks\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield
    sys.modules.pop("heavy_hooks", None)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", KITS)
def test_hooks_that_import_torch_fail_that_check_alone(kind: str) -> None:
    report = run_checks(KITS[kind].of("right"))
    assert [result.check for result in report.of("failed")] == [HOOKS]
    assert "torch" in report.of("failed")[0].message

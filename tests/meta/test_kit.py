"""The kit itself: right plugins pass every check, and for each check a broken plugin fails that check and no other."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import undertow.testing
from undertow.plugins.host import load_plugins
from undertow.testing import KITS, CellConformance, Conformance, run_checks
from undertow.testing.networks import small_network
from undertow.testing.work import work_of

HERE = Path(__file__).parent
RIGHT = HERE / "right.py"
RIGHT_NAMES = {
    "cell": ("right", "right-counting", "right-drawing", "right-complex"),
    "block": ("right",),
    "task": ("right",),
    "probe": ("right",),
    "optimizer": ("right", "right-normalised"),
    "callback": ("right", "right-drawing"),
}
HOOKS = "hooks_import_nothing_heavy"
"""Its broken plugin is `HEAVY_HOOKS`, installed as a distribution."""
HEAVY_HOOKS = """
import tensorflow  # an empty module of that name: the check looks at names alone
from undertow import Options

class RightOptions(Options):
    strength: float = 1.0
    \'\'\'How strong it is.\'\'\'

from undertow import BlockSpec, CallbackSpec, CellSpec, Lengths, OptimizerSpec, ProbeSpec, TaskSpec, hookimpl

@hookimpl
def undertow_register_cells():
    yield CellSpec(name="heavy", summary="A cell.", factory="heavy_classes:RightCell", state=("h",))

@hookimpl
def undertow_register_blocks():
    yield BlockSpec(name="heavy", summary="A block.", factory="heavy_classes:RightBlock")

@hookimpl
def undertow_register_tasks():
    yield TaskSpec(
        name="heavy", summary="A task.", factory="heavy_classes:RightTask",
        shape="many-to-one", lengths=Lengths(default=12), metrics={"error": "min"},
    )

@hookimpl
def undertow_register_probes():
    yield ProbeSpec(name="heavy", summary="A probe.", factory="heavy_classes:RightProbe")

@hookimpl
def undertow_register_optimizers():
    yield OptimizerSpec(name="heavy", summary="An optimiser.", factory="heavy_classes:RightOptimizer", elementwise=True,
        options=RightOptions)

@hookimpl
def undertow_register_callbacks():
    yield CallbackSpec(name="heavy", summary="A callback.", factory="heavy_classes:RightCallback", options=RightOptions,
        measures={"right/mean": "The mean."}, files=("right.txt",))
"""
DOES_NOT_APPLY = {
    "cell right-complex": {"scan_equals_steps", "scan_has_the_gradients_of_its_steps", "gates_are_in_range"},
    "cell right-drawing": {"packs"},
    "optimizer right-normalised": {"stack_is_stepped_as_each_alone"},
    "callback right-drawing": {"training_is_what_its_spec_says"},
}
TRAINING_STEPS = 200
"""Steps in which the right cells learn to add; a broken cell needs no more to fail."""


def files(kind: str) -> list[Path]:
    return [RIGHT, HERE / f"broken_{kind}s.py"]


def kit_of(kind: str, name: str, plugins: list[Path]) -> Conformance:
    more = {"training_steps": TRAINING_STEPS} if kind == "cell" else {}
    return KITS[kind].of(name, plugins=plugins, **more)


@functools.cache
def broken_names(kind: str) -> list[str]:
    registered = getattr(load_plugins(files=files(kind)), f"{kind}s")
    return [name for name, entry in registered.items() if entry.plugin.distribution == str(files(kind)[1])]


def broken(kind: str) -> dict[str, str]:
    """The check that each broken plugin fails: its name begins with that of the check."""
    checks = [check for check in KITS[kind].checks() if check != HOOKS]
    return {name: check for name in broken_names(kind) for check in checks if name.startswith(check.replace("_", ""))}


def cases() -> list[Any]:
    return [
        pytest.param(kind, name, marks=[pytest.mark.gpu] if check == "gpu_equals_cpu" else [], id=f"{kind}-{name}")
        for kind in KITS
        for name, check in broken(kind).items()
    ]


@pytest.mark.parametrize("kind", KITS)
def test_every_check_has_a_broken_plugin_and_no_plugin_is_left_over(kind: str) -> None:
    assert set(broken_names(kind)) == set(broken(kind))
    assert set(broken(kind).values()) == set(KITS[kind].checks()) - {HOOKS}


@pytest.mark.parametrize(("kind", "name"), cases())
def test_a_broken_plugin_fails_its_check_alone(kind: str, name: str) -> None:
    report = run_checks(kit_of(kind, name, files(kind)))
    failed = {result.check: result.message for result in report.of("failed")}
    assert set(failed) == {broken(kind)[name]}, "\n".join(f"{check}: {text}" for check, text in failed.items())
    assert len(report.results) == report.declared
    assert not report.ok
    assert ", 1 failed" in report.summary


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KITS for name in RIGHT_NAMES[kind]])
def test_a_right_plugin_passes_every_check_that_applies(kind: str, name: str) -> None:
    before = torch.get_rng_state()
    report = run_checks(kit_of(kind, name, [RIGHT]))
    assert report.ok, report.of("failed")
    skipped = {result.check for result in report.of("skipped")}
    gpu = set() if torch.cuda.is_available() or kind != "cell" else {"gpu_equals_cpu"}
    assert skipped == {HOOKS} | gpu | DOES_NOT_APPLY.get(f"{kind} {name}", set())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KITS)
def test_the_docstring_of_every_check_is_a_question(kind: str) -> None:
    assert all(KITS[kind].question(check).endswith("?") for check in KITS[kind].checks())


def test_work_is_the_same_at_every_count() -> None:
    """It is counted, not timed: other processes do not change it."""
    model, _, subject = small_network(length=64)

    def train() -> None:
        model(subject.batch.input).sum().backward()

    train()
    one, other = work_of(train), work_of(train)
    assert one.numbers == other.numbers > 64
    assert one.operations == pytest.approx(other.operations, rel=0.01)


# --- expected failures, under pytest and without ---------------------------------------------------------------------


class TestGatesOfABrokenCell(CellConformance):
    """As an author would write it; pytest shows the expected failure as a skip with its reason."""

    name = "gatesareinrange"
    plugins = files("cell")
    training_steps = TRAINING_STEPS
    expected_failures = {"gates_are_in_range": "shows the pre-activation"}  # noqa: RUF012  # as authors write it


class Quick(CellConformance):
    """Without the one check that trains; it is declared and skipped."""

    plugins = (RIGHT,)
    name = "right"

    def test_learns_to_add(self) -> None:
        self.skip("not needed here")


def test_an_expected_failure_is_no_failure() -> None:
    report = run_checks(TestGatesOfABrokenCell())
    assert report.ok
    assert [result.check for result in report.of("failed as expected")] == ["gates_are_in_range"]
    assert "1 failed as expected (shows the pre-activation)" in report.summary


@pytest.mark.parametrize("check", ["pickle_is_equal", "packs"])
def test_an_expected_failure_that_passes_is_a_failure(check: str) -> None:
    report = run_checks(Quick.of("right", plugins=[RIGHT], expected_failures={check: "long ago"}))
    assert [result.check for result in report.of("failed")] == [check]
    assert "long ago" in report.of("failed")[0].message


@pytest.mark.parametrize(
    ("failures", "message"), [({"pickle": "why"}, "there is no check pickle"), ({"pickle_is_equal": " "}, "say why")]
)
def test_an_expected_failure_needs_a_check_and_a_reason(failures: dict[str, str], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        CellConformance.of("right", plugins=[RIGHT], expected_failures=failures)


def test_a_check_that_was_removed_has_failed() -> None:
    kit = CellConformance.of("right", plugins=[RIGHT])
    type(kit).test_learns_to_add = None  # type: ignore[assignment, method-assign]
    report = run_checks(kit)
    assert report.declared == len(CellConformance.checks())
    assert [result.check for result in report.of("failed")] == ["learns_to_add"]


def test_a_plugin_that_exits_fails_one_check_and_the_others_run() -> None:
    class Exits(Quick):
        def test_pickle_is_equal(self) -> None:
            raise SystemExit(3)

    report = run_checks(Exits())
    assert [result.check for result in report.of("failed")] == ["pickle_is_equal"]
    assert len(report.results) == report.declared


def test_a_check_that_a_subclass_overrides_keeps_its_place() -> None:
    assert Quick.checks() == CellConformance.checks()
    assert CellConformance.checks()[:2] == [HOOKS, "options_are_told_and_read_back"]


def test_the_package_docstring_has_the_number_of_checks() -> None:
    assert f"{len(CellConformance.checks())} checks" in (undertow.testing.__doc__ or "")


def test_the_kit_needs_no_pytest() -> None:
    sources = [path.read_text() for path in Path(undertow.testing.__path__[0]).rglob("*.py")]
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert "undertow.api.contract" in imported
    assert not {name for name in imported if name and name.split(".")[0] in ("pytest", "_pytest")}


# --- installed -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`HEAVY_HOOKS` as a distribution, with the classes of `right.py`."""
    (tmp_path / "heavy_hooks.py").write_text(HEAVY_HOOKS)
    (tmp_path / "heavy_classes.py").write_text(RIGHT.read_text())
    (tmp_path / "tensorflow.py").touch()
    info = tmp_path / "heavy_hooks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy-hooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[undertow]\nheavy = heavy_hooks\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in ("heavy_hooks", "heavy_classes", "tensorflow"):
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("installed")
def test_hooks_with_a_heavy_import_fail_that_check_alone() -> None:
    for kind in KITS:
        report = run_checks(kit_of(kind, "heavy", []))
        assert [result.check for result in report.of("failed")] == [HOOKS]
        assert "imports tensorflow" in report.of("failed")[0].message

"""Finding a spec by name, and importing the class it names."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from undertow.api.spec import BlockSpec, CellSpec, Lengths, ProbeSpec, Spec, TaskSpec
from undertow.errors import RequestError
from undertow.plugins.registry import Entry, Plugin, PluginFailure, Registry, describe_error

PLUGIN = Plugin("acme:cells", "acme", "1.2", "acme_hooks")
FAILURE = PluginFailure("broken:main", "broken", "0.1", "import", "It raised ValueError.", "Upgrade it.")


def cell(name: str, factory: str = "acme:Cell") -> CellSpec:
    return CellSpec(name=name, summary="A cell.", factory=factory, state=("h",))


def registry(*specs: CellSpec, failures: tuple[PluginFailure, ...] = ()) -> Registry:
    return Registry(cells={spec.name: Entry(spec, PLUGIN) for spec in specs}, plugins=(PLUGIN,), failures=failures)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module called `acme` that nothing has imported yet."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(code: str) -> None:
        (tmp_path / "acme.py").write_text(dedent(code))

    yield write
    sys.modules.pop("acme", None)


def test_the_error_for_an_unknown_name_has_the_nearest_one() -> None:
    with pytest.raises(RequestError, match=r"^there is no cell 'lstn'\. Did you mean `lstm`\?$"):
        registry(cell("lstm"), cell("gru")).cell("lstn")


def test_an_unknown_name_lists_what_exists_when_nothing_is_near() -> None:
    with pytest.raises(RequestError, match=r"There is: gru, lstm\."):
        registry(cell("lstm"), cell("gru")).cell("transformer")


def test_of_many_names_an_unknown_one_lists_twelve_and_the_command_for_the_rest() -> None:
    known = registry(*(cell(f"cell-{number:03}") for number in range(140)))
    with pytest.raises(RequestError) as caught:
        known.cell("transformer")
    listed = ", ".join(f"cell-{number:03}" for number in range(12))
    assert str(caught.value) == (
        f"there is no cell 'transformer'. There is: {listed} and 128 more; see `undertow list cells`."
    )


@pytest.mark.parametrize("kind", ["cell", "task", "probe"])
def test_an_unknown_name_mentions_the_plugins_that_failed(kind: str) -> None:
    known = registry(cell("lstm"), failures=(FAILURE, FAILURE))
    with pytest.raises(RequestError, match=rf"no {kind} 'x'.*Not loaded in full: broken; see `undertow plugin list"):
        getattr(known, kind)("x")


def test_each_kind_is_found_by_name() -> None:
    task = TaskSpec(name="a", summary="A.", factory="x:Y", shape="aligned", lengths=Lengths(default=1))
    probe = ProbeSpec(name="a", summary="A.", factory="x:Y")
    block = BlockSpec(name="a", summary="A.", factory="x:Y")
    known = Registry(
        {"a": Entry(cell("a"), PLUGIN)},
        {"a": Entry(block, PLUGIN)},
        {"a": Entry(task, PLUGIN)},
        {"a": Entry(probe, PLUGIN)},
    )
    assert (known.cell("a"), known.block("a"), known.task("a"), known.probe("a")) == (cell("a"), block, task, probe)


def test_the_factory_is_the_class_that_the_spec_names(module) -> None:
    module("from undertow import Cell\nclass Mine(Cell):\n    pass\n")
    spec = cell("mine", "acme:Mine")
    found = registry(spec).factory(spec)
    assert (found.__module__, found.__name__) == ("acme", "Mine")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_to_be_found", r"ModuleNotFoundError: No module named 'nowhere_to_be_found' \(.*acme\.py:1\)"),
        ("raise SystemExit(4)", r"SystemExit: 4 \(.*acme\.py:1\)"),
        ("x = 1", "AttributeError: module 'acme' has no attribute 'Mine'"),
        ("class Mine: pass", r"not a subclass of `undertow\.Cell`"),
        ("from undertow.api.contract import Probe\nclass Mine(Probe): pass", r"not a subclass of `undertow\.Cell`"),
        ("Mine = 3", r"is 3, not a subclass of `undertow\.Cell`"),
    ],
    ids=["needs", "exits", "no-such-class", "plain-class", "other-contract", "no-class"],
)
def test_the_error_for_a_wrong_factory_names_distribution_and_import_string(module, code: str, reason: str) -> None:
    module(code)
    spec = cell("mine", "acme:Mine")
    with pytest.raises(RequestError, match=rf"^cell `mine` of acme 1\.2: its factory `acme:Mine` .*{reason}"):
        registry(spec).factory(spec)


@pytest.mark.parametrize(
    ("spec", "base"),
    [
        (TaskSpec(name="t", summary="T.", factory="acme:M", shape="aligned", lengths=Lengths(default=1)), "Task"),
        (ProbeSpec(name="p", summary="P.", factory="acme:M"), "Probe"),
    ],
    ids=["task", "probe"],
)
def test_tasks_and_probes_must_be_subclasses_of_their_own_contracts(module, spec: Spec, base: str) -> None:
    module(f"from undertow.api.contract import {base}\nclass M({base}):\n    pass\n")
    assert Registry().factory(spec).__name__ == "M"
    sys.modules.pop("acme")
    module("from undertow.api.contract import Cell\nclass M(Cell): # another contract, and another length\n    pass\n")
    with pytest.raises(RequestError, match=rf"not a subclass of `undertow\.{base}`"):
        Registry().factory(spec)


def test_strict_mode_refuses_failures_and_passes_without_any() -> None:
    registry(cell("lstm")).require_all_loaded()
    with pytest.raises(RequestError, match=r"broken:main \(0\.1\), import: It raised ValueError\. Upgrade it\."):
        registry(cell("lstm"), failures=(FAILURE,)).require_all_loaded()


def test_an_exception_is_described_with_the_line_of_the_given_file(tmp_path: Path) -> None:
    file = tmp_path / "given.py"
    code = compile("import json\njson.loads('{')\n", str(file), "exec")
    with pytest.raises(ValueError, match="Expecting") as caught:
        exec(code, {})
    assert f"({file}:2)" in describe_error(caught.value, within=[file])
    assert "decoder.py:" in describe_error(caught.value)
    assert describe_error(ValueError()) == "ValueError"

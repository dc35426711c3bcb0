"""The plugin host with distributions that are broken in every way."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from undertow.errors import RequestError
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import PluginFailure, Registry

CELL = """
    from undertow import CellSpec, hookimpl

    @hookimpl
    def undertow_register_cells():
        return [CellSpec(name={name!r}, summary="A cell.", factory="x.y:Z", state=("h",))]
"""

Install = Callable[..., None]


def only_failure(registry: Registry) -> PluginFailure:
    assert len(registry.failures) == 1, [str(failure) for failure in registry.failures]
    return registry.failures[0]


def test_a_plugin_and_its_specs_are_listed_with_their_distribution(install: Install) -> None:
    install("leaky", CELL.format(name="leaky-rnn"), version="2.1")
    registry = load_plugins()
    entry = registry.cells["leaky-rnn"]
    assert (entry.plugin.name, str(entry.plugin), entry.plugin.module) == ("leaky:main", "leaky 2.1", "leaky_hooks")
    assert registry.plugins == (entry.plugin,)
    assert registry.versions() == {"leaky": "2.1"}
    assert registry.failures == ()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
        ("def broken(:\n    pass", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_fails_at_import_is_reported_with_its_line_and_the_others_are_loaded(
    install: Install, code: str, reason: str
) -> None:
    install("aaa-broken", code, version="0.3")
    install("leaky", CELL.format(name="leaky-rnn"))
    registry = load_plugins()
    failure = only_failure(registry)
    assert (failure.distribution, failure.version, failure.stage) == ("aaa-broken", "0.3", "import")
    assert reason in failure.reason
    assert "aaa_broken_hooks.py:" in failure.reason
    assert "block: [aaa-broken]" in failure.remedy
    assert list(registry.cells) == ["leaky-rnn"]


@pytest.mark.parametrize(
    "code", ["raise KeyboardInterrupt", CELL.replace("return", "raise KeyboardInterrupt\n        #")]
)
def test_a_keyboard_interrupt_in_a_plugin_is_raised(install: Install, code: str) -> None:
    install("interrupted", code.format(name="x"))
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


def test_an_entry_point_that_names_nothing_is_an_import_failure(install: Install) -> None:
    install("hollow", "", points="main = hollow_hooks:plugin")
    failure = only_failure(load_plugins())
    assert failure.stage == "import"
    assert "`hollow_hooks:plugin`" in failure.reason
    assert "no attribute 'plugin'" in failure.reason


def test_a_malformed_entry_points_file_is_reported(install: Install) -> None:
    install("crooked", "", points="this line has no equals sign")
    install("leaky", CELL.format(name="leaky-rnn"))
    registry = load_plugins()
    assert (only_failure(registry).distribution, only_failure(registry).stage) == ("crooked", "discover")
    assert list(registry.cells) == ["leaky-rnn"]


def test_a_malformed_entry_points_file_without_plugins_is_ignored(install: Install, tmp_path: Path) -> None:
    install("leaky", CELL.format(name="leaky-rnn"))
    info = tmp_path / "other-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    assert list(load_plugins().cells) == ["leaky-rnn"]


def test_a_misspelled_hook_names_the_nearest_one_and_only_its_plugin_is_left_out(install: Install) -> None:
    install("aaa-typo", CELL.format(name="typo").replace("register_cells", "register_cell"))
    install("leaky", CELL.format(name="leaky-rnn"))
    registry = load_plugins()
    failure = only_failure(registry)
    assert failure.stage == "register"
    assert "no hook `undertow_register_cell`. Did you mean `undertow_register_cells`?" in failure.reason
    assert [plugin.distribution for plugin in registry.plugins] == ["leaky"]
    assert list(registry.cells) == ["leaky-rnn"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (CELL.replace("cells()", "cells(config)"), "config"),
        (CELL.replace("@hookimpl", ""), "`undertow_register_cells` is not marked as a hook"),
        (CELL.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("return", "yield"), "declared as a wrapper"),
        ("x = 1", "it has no hooks"),
    ],
    ids=["argument", "unmarked", "wrapper", "empty"],
)
def test_hooks_that_would_never_be_called_are_reported(install: Install, code: str, reason: str) -> None:
    install("odd", code.format(name="odd"))
    registry = load_plugins()
    assert only_failure(registry).stage == "register"
    assert reason in only_failure(registry).reason
    assert registry.plugins == ()
    assert registry.cells == {}


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("None", "returned None, not a list of CellSpec"),
        ("good", "returned CellSpec("),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit(1)", "SystemExit: 1"),
    ],
)
def test_a_hook_that_raises_or_returns_no_list_is_reported(install: Install, returned: str, reason: str) -> None:
    code = CELL.format(name="x").replace("return [", "good = (").replace('",))]', '",)))')
    install("odd", code + f"        return {returned}\n")
    failure = only_failure(load_plugins())
    assert failure.stage == "hook"
    assert reason in failure.reason


def test_what_a_hook_yielded_before_it_raised_stays(install: Install) -> None:
    code = CELL.format(name="early").replace("return [", "yield (").replace('",))]', '",)))')
    install("odd", code + "        raise RuntimeError('late')\n")
    registry = load_plugins()
    assert list(registry.cells) == ["early"]
    assert "RuntimeError: late" in only_failure(registry).reason


@pytest.mark.parametrize(
    ("change", "stage", "reason"),
    [
        ("name='Leaky RNN'", "spec", "'Leaky RNN' is not a legal name"),
        ("name=7", "spec", "7 is not a legal name"),
        ("summary=''", "spec", "summary is ''"),
        ("factory='x.y'", "spec", "factory is 'x.y'"),
        ("factory='x.y:Z()'", "spec", "factory is 'x.y:Z()'"),
        ("options=dict", "spec", "options is <class 'dict'>"),
        ("options=Options()", "spec", "options is Options()"),
        ("state=()", "spec", "state is empty"),
        ("state='h'", "spec", "state is 'h', not a tuple of names"),
        ("state=['h']", "spec", "state is ['h'], not a tuple of names"),
        ("state=('h', 3)", "spec", "state is ('h', 3), not a tuple of names"),
        ("state=('h', 'c', 'h')", "spec", "the state part 'h' is there twice"),
        ("state=('h', '')", "spec", "the state part '' has characters that are not allowed"),
        ("state=('h/2',)", "spec", "the state part 'h/2' has characters that are not allowed"),
        ("state=('h²',)", "spec", "the state part 'h²' has characters that are not allowed"),
        ("state=('2h',)", "spec", "the state part '2h' has characters that are not allowed"),
        ("state=('joint',)", "spec", "the state part 'joint' has a reserved name"),
        ("api=2", "api", "it was written for api 2; this undertow supports api 1"),
        ("api=0", "api", "it was written for api 0"),
        ("api='1'", "api", "api is '1'"),
    ],
)
def test_one_bad_spec_is_left_out_and_the_others_of_its_plugin_stay(
    install: Install, change: str, stage: str, reason: str
) -> None:
    install(
        "mixed",
        f"""
        from dataclasses import replace
        from undertow import CellSpec, Options, hookimpl

        @hookimpl
        def undertow_register_cells():
            good = CellSpec(name="good", summary="A cell.", factory="x.y:Z", state=("h",))
            return [replace(good, **{{"name": "bad", **dict({change})}}), good]
        """,
    )
    registry = load_plugins()
    assert list(registry.cells) == ["good"]
    assert (only_failure(registry).stage, only_failure(registry).distribution) == (stage, "mixed")
    assert reason in only_failure(registry).reason


@pytest.mark.parametrize("parts", [("C",), ("S", "n"), ("c", "C"), ("h_1", "M2")])
def test_a_state_part_may_be_called_as_in_its_paper(install: Install, parts: tuple[str, ...]) -> None:
    install("matrix", CELL.format(name="matrix").replace('("h",)', repr(parts)))
    registry = load_plugins()
    assert registry.failures == ()
    assert registry.cell("matrix").state == parts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("shape='many-to-some'", "shape is 'many-to-some'"),
        ("lengths=64", "lengths is 64"),
        ("lengths=Lengths(default=5, minimum=9)", "lengths is Lengths(default=5, minimum=9"),
        ("metrics={'accuracy': 'up'}", "metrics is {'accuracy': 'up'}"),
    ],
)
def test_a_task_with_a_wrong_shape_length_or_metric_is_refused(install: Install, change: str, reason: str) -> None:
    install(
        "tasks",
        f"""
        from dataclasses import replace
        from undertow import Lengths, TaskSpec, hookimpl

        @hookimpl
        def undertow_register_tasks():
            lengths = Lengths(default=64, maximum=128)
            good = TaskSpec(name="good", summary="T.", factory="x:Y", shape="aligned", lengths=lengths)
            return [replace(good, **{{"name": "bad", **dict({change})}}), good]
        """,
    )
    registry = load_plugins()
    assert list(registry.tasks) == ["good"]
    assert reason in only_failure(registry).reason


@pytest.mark.parametrize("measures", ["None", "('swell',)", "{'swell': 3}", "{'swell': ''}", "{'swell': 'high\\nlow'}"])
def test_a_probe_whose_numbers_are_not_described_in_lines_is_refused(install: Install, measures: str) -> None:
    install(
        "probes",
        f"""
        from undertow import ProbeSpec, hookimpl

        @hookimpl
        def undertow_register_probes():
            texts = dict(name="good", summary="P.", factory="x:Y", measures={{"swell": "Height, metres"}})
            return [ProbeSpec(**{{**texts, "name": "bad", "measures": {measures}}}), ProbeSpec(**texts)]
        """,
    )
    registry = load_plugins()
    assert list(registry.probes) == ["good"]
    assert "measures is " in only_failure(registry).reason


def test_a_spec_of_another_type_is_refused(install: Install) -> None:
    install("confused", CELL.format(name="x").replace("register_cells", "register_probes"))
    failure = only_failure(load_plugins())
    assert failure.stage == "spec"
    assert "`undertow_register_probes` gave CellSpec(" in failure.reason
    assert "not a ProbeSpec" in failure.reason


def test_duplicate_cell_name_names_both_distributions_and_the_first_keeps_it(install: Install) -> None:
    install("zeta", CELL.format(name="same"), version="9")
    install("alpha", CELL.format(name="same"))
    registry = load_plugins()
    failure = only_failure(registry)
    assert (failure.stage, failure.distribution) == ("duplicate", "zeta")
    assert "'same'" in failure.reason
    assert "alpha 1.0" in failure.reason
    assert "alpha" in failure.remedy
    assert registry.cells["same"].plugin.distribution == "alpha"


def test_undertows_own_distributions_load_first_then_all_by_name(install: Install) -> None:
    for name in ("zeta", "undertow-zz", "alpha", "undertow-aa"):
        install(name, CELL.format(name=f"of-{name}"))
    loaded = [plugin.distribution for plugin in load_plugins().plugins]
    assert loaded == ["undertow-aa", "undertow-zz", "alpha", "zeta"]


def test_plugins_of_a_registry_are_loaded_again_although_the_installation_has_changed(
    install: Install, tmp_path: Path
) -> None:
    install("one", CELL.format(name="a"))
    first = load_plugins()
    install("two", CELL.format(name="b"))
    for file in tmp_path.glob("one-1.0.dist-info/*"):
        file.unlink()
    assert set(load_plugins().cells) == {"b"}
    assert load_plugins(again=first.plugins, strict=True) == first


def test_two_distributions_may_use_one_entry_point_name(install: Install) -> None:
    install("alpha", CELL.format(name="one"), point="cells")
    install("beta", CELL.format(name="two"), point="cells")
    registry = load_plugins()
    assert [plugin.name for plugin in registry.plugins] == ["alpha:cells", "beta:cells"]
    assert set(registry.cells) == {"one", "two"}


def test_a_module_listed_twice_by_one_distribution_is_reported_once(install: Install) -> None:
    install("twice", CELL.format(name="one"), points="a = twice_hooks\nb = twice_hooks")
    registry = load_plugins()
    assert only_failure(registry).plugin == "twice:b"
    assert list(registry.cells) == ["one"]


def test_blocked_and_not_allowed_distributions_are_not_even_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alpha", "beta-two", "gamma"):
        install(name, CELL.format(name=f"of-{name}"))
    assert list(load_plugins(allow=["Beta_Two", "gamma"], block=["gamma", "not-there"]).cells) == ["of-beta-two"]
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "beta.two, gamma")
    assert set(load_plugins().cells) == {"of-beta-two", "of-gamma"}
    assert list(load_plugins(allow=["alpha", "gamma"]).cells) == ["of-gamma"]
    assert load_plugins(allow=[]).cells == {}
    assert "alpha_hooks" not in sys.modules


def test_allowing_what_is_not_installed_is_refused_with_the_nearest_name(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("leaky", CELL.format(name="leaky-rnn"))
    with pytest.raises(RequestError, match=r"plugins\.allow: no plugin `laeky` is installed\. Did you mean `leaky`\?"):
        load_plugins(allow=["laeky"])
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "laeky")
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_ALLOW: no plugin `laeky`"):
        load_plugins()


def test_strict_mode_raises_and_lists_every_failure(install: Install) -> None:
    install("broken-one", "raise ValueError('first')")
    install("broken-two", "raise ValueError('second')")
    install("leaky", CELL.format(name="leaky-rnn"))
    with pytest.raises(RequestError, match=r"(?s)broken-one.*first.*broken-two.*second"):
        load_plugins(strict=True)


def test_what_a_plugin_prints_does_not_reach_standard_output(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("chatty", "print('hello')\n" + dedent(CELL.format(name="chatty")))
    load_plugins()
    assert capsys.readouterr() == ("", "hello\n")


def test_a_factory_without_module_means_the_module_of_the_hooks(install: Install) -> None:
    install("leaky", CELL.format(name="leaky-rnn").replace("x.y:Z", ":Z"))
    assert load_plugins().cell("leaky-rnn").factory == "leaky_hooks:Z"


def test_loading_is_fast_and_imports_no_heavy_library(slowness: float) -> None:
    code = """
        import sys, time
        from undertow.plugins.host import load_plugins
        load_plugins()
        heavy = {"torch", "pytorch_lightning", "mlflow", "optuna", "torchmetrics"} & set(sys.modules)
        print(sorted(heavy), time.process_time())
    """
    spent = []
    for _ in range(3):
        output = subprocess.run(
            [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True
        ).stdout.strip()
        heavy, _, seconds = output.rpartition(" ")
        assert heavy == "[]"
        spent.append(float(seconds))
    assert min(spent) < 1.0 * slowness  # about a third of it; torch alone takes several


def test_a_block_of_the_platform_keeps_its_name(install: Install) -> None:
    install(
        "gates",
        """
        from undertow import BlockSpec, hookimpl

        @hookimpl
        def undertow_register_blocks():
            yield BlockSpec(name="glu", summary="Another.", factory=":Glu")
            yield BlockSpec(name="wide", summary="Wide.", factory=":Wide")
        """,
    )
    registry = load_plugins()
    assert [*registry.blocks] == ["plain", "residual", "glu", "wide"]
    failure = only_failure(registry)
    assert (failure.stage, failure.kind, failure.name) == ("duplicate", "block", "glu")
    assert "is already taken by undertow " in failure.reason
    assert failure.remedy == "Rename one."

"""`undertow plugin new`: what it writes, and what it refuses to write."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from undertow.config.load import load_mapping
from undertow.plugins.kinds import KINDS
from undertow.scaffold import Names

Call = Callable[..., Any]
Install = Callable[[str, str], None]

ROOT = Path(__file__).parents[3]

HOOK = {
    "cell": "undertow_register_cells",
    "block": "undertow_register_blocks",
    "task": "undertow_register_tasks",
    "probe": "undertow_register_probes",
    "optimizer": "undertow_register_optimizers",
    "callback": "undertow_register_callbacks",
}

FILES = [
    "README.md",
    "pyproject.toml",
    "smoke.yaml",
    "src/slow_tide/__init__.py",
    "src/slow_tide/hooks.py",
    "src/slow_tide/options.py",
    "src/slow_tide/py.typed",
    "tests/test_slow_tide.py",
]

DESCRIBE = """
import json, sys
from slow_tide.hooks import {hook} as hook
(spec,) = hook()
print(json.dumps([type(spec).__name__, spec.name, spec.factory, sorted({{"torch", "sklearn"}} & set(sys.modules))]))
"""


@pytest.mark.parametrize(
    ("kind", "name", "package", "class_name"),
    [
        ("cell", "leaky-rnn", "leaky_rnn", "LeakyRNN"),
        ("cell", "my-lstm-2", "my_lstm_2", "MyLSTM2"),
        ("task", "first-sign", "first_sign", "FirstSign"),
        ("probe", "norm", "norm", "Norm"),
        ("block", "block", "block", "BlockBlock"),
        ("cell", "state", "state", "StateCell"),
        ("task", "tensor", "tensor", "TensorTask"),
        ("probe", "probe", "probe", "ProbeProbe"),
        ("optimizer", "optimizer", "optimizer", "OptimizerOptimizer"),
        ("callback", "weight-average", "weight_average", "WeightAverage"),
    ],
)
def test_names_are_derived_from_one(kind: Any, name: str, package: str, class_name: str) -> None:
    names = Names(kind, name)
    assert (names.package, names.class_name) == (package, class_name)


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_a_distribution_and_prints_each_file_and_the_next_commands(call: Call, kind: str) -> None:
    code, out, err = call("plugin", "new", kind, "slow-tide")
    assert (code, err) == (0, "")
    files = sorted(["slow-tide/" + file for file in [*FILES, f"src/slow_tide/{kind}.py"]])
    assert sorted(path.as_posix() for path in Path().rglob("*") if path.is_file()) == files
    lines = out.splitlines()
    assert lines[0] == f"slow-tide: {KINDS[kind].one} that passes its checks, yours to change"
    assert sorted(line.strip() for line in lines[1 : lines.index("next:")]) == files
    assert lines[lines.index("next:") + 1 :] == [
        "  pip install -e slow-tide",
        "  undertow plugin check slow-tide",
        "  undertow run slow-tide/smoke.yaml",
    ]


def test_json_has_files_class_and_the_next_commands(call: Call) -> None:
    document = call("plugin", "new", "cell", "slow-tide", "--into", "a b", "--json").document
    assert (document["kind"], document["name"], document["class"]) == ("cell", "slow-tide", "SlowTide")
    assert all(Path(file).is_file() for file in document["files"])
    assert len(document["files"]) == len(FILES) + 1
    assert document["next"][0] == "pip install -e 'a b/slow-tide'"


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_of_a_template_is_left(call: Call, kind: str) -> None:
    call("plugin", "new", kind, "slow-tide")
    for path in Path("slow-tide").rglob("*"):
        assert "$" not in path.name
        assert "template" not in path.name
        if path.is_file():
            assert "${" not in path.read_text(), path


@pytest.mark.parametrize("kind", KINDS)
def test_its_project_file_has_the_entry_point_and_its_own_package(call: Call, kind: str) -> None:
    call("plugin", "new", kind, "slow-tide")
    declared = tomllib.loads(Path("slow-tide/pyproject.toml").read_text())
    assert declared["project"]["name"] == "slow-tide"
    assert declared["project"]["entry-points"]["undertow"] == {"slow-tide": "slow_tide.hooks"}
    assert declared["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/slow_tide"]
    assert "undertow>=0.1,<0.2" in declared["project"]["dependencies"]


@pytest.mark.parametrize("kind", KINDS)
def test_its_hooks_import_no_torch(call: Call, kind: str) -> None:
    call("plugin", "new", kind, "slow-tide")
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE.format(hook=HOOK[kind])],
        env={**os.environ, "PYTHONPATH": "slow-tide/src"},
        capture_output=True,
        text=True,
        check=True,
    )
    spec = f"{kind.capitalize()}Spec"
    assert yaml.safe_load(done.stdout) == [spec, "slow-tide", f"slow_tide.{kind}:SlowTide", []]


@pytest.mark.parametrize("kind", KINDS)
def test_it_uses_public_names_only(call: Call, kind: str) -> None:
    import undertow

    call("plugin", "new", kind, "slow-tide")
    for file in Path("slow-tide/src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "undertow":
                assert node.module == "undertow", file
                assert {alias.name for alias in node.names} <= {*undertow.__all__, "draws"}, file


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["slow-tide", "zero", "an-undertow-lstm"])
def test_ruff_reports_nothing(call: Call, kind: str, name: str) -> None:
    call("plugin", "new", kind, name)
    ruff = Path(sys.prefix) / "bin" / "ruff"
    for arguments in (("format", "--check"), ("check", "--select", "E,F,W,I,B,UP,SIM,C4")):
        done = subprocess.run(
            [ruff, *arguments, "--no-cache", "."], cwd=name, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_smoke_run_of_a_cell_loads(call: Call) -> None:
    call("plugin", "new", "cell", "slow-tide")
    smoke = yaml.safe_load(Path("slow-tide/smoke.yaml").read_text())
    assert smoke["cell"].pop("name") == "slow-tide"  # which is not installed here
    loaded = load_mapping({**smoke, "cell": {**smoke["cell"], "name": "lstm"}}).config
    assert (loaded.task.name, loaded.cell.hidden_size) == ("adding", 16)


def test_into_a_folder_that_is_not_there_yet(call: Call) -> None:
    assert call("plugin", "new", "probe", "slow-tide", "--into", "deep/down").code == 0
    assert Path("deep/down/slow-tide/pyproject.toml").is_file()


def test_an_empty_folder_is_filled(call: Call) -> None:
    Path("slow-tide").mkdir()
    assert call("plugin", "new", "task", "slow-tide").code == 0


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "complaint"),
    [
        (
            "cell",
            "My Cell",
            "'My Cell' is not a legal name: write lower-case words joined by hyphens, such as `my-cell`.",
        ),
        (
            "cell",
            "2-fast",
            "'2-fast' is not a legal name: write lower-case words joined by hyphens, such as `leaky-rnn`.",
        ),
        ("cell", "a/b", "such as `a-b`"),
        ("cell", "a--b", "such as `a-b`"),
        ("cell", "../up", "such as `up`"),
        ("cell", "lstm", "the cell `lstm` exists already, from undertow-cells "),
        ("task", "adding", "the task `adding` exists already, from undertow-tasks "),
        ("block", "glu", "the block `glu` exists already, from undertow "),
        ("probe", "cost", "the probe `cost` exists already, from undertow-probes "),
        ("task", "torch", "a distribution torch "),
        ("task", "undertow-cells", "a distribution undertow-cells "),
        ("task", "copy-", "such as `copy`"),
        ("cell", "select", "a package `select` would hide the module of Python's standard library"),
        ("cell", "yaml", "a package `yaml` would hide the one in "),
        ("cell", "lambda", "a package `lambda` would hide Python's keyword `lambda`"),
        ("gate", "slow-tide", '"gate"'),
    ],
)
def test_a_bad_or_taken_name_is_refused(call: Call, kind: str, name: str, complaint: str) -> None:
    code, out, err = call("plugin", "new", kind, name)
    assert (code, out) == (2, "")
    assert complaint in err
    assert not list(Path().iterdir())


def test_a_name_that_another_kind_uses_is_free(call: Call) -> None:
    assert call("plugin", "new", "probe", "lstm").code == 0


def test_the_error_names_the_distribution_that_has_the_name(call: Call, install: Install) -> None:
    hooks = """
        from undertow import ProbeSpec, hookimpl

        @hookimpl
        def undertow_register_probes():
            yield ProbeSpec(name="slow-tide", summary="How slow?", factory=":Slow")
    """
    install("wet-probes", hooks)
    assert "`slow-tide` exists already, from wet-probes 1.2." in call("plugin", "new", "probe", "slow-tide").err


@pytest.mark.parametrize("taken", ["slow-tide", "slow-tide/notes.txt"])
def test_nothing_is_ever_overwritten(call: Call, taken: str) -> None:
    path = Path(taken)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    code, out, err = call("plugin", "new", "cell", "slow-tide")
    assert (code, out) == (2, "")
    assert "slow-tide exists already, and nothing is overwritten" in err
    assert path.read_text() == "mine"
    assert [each for each in Path().rglob("*") if each.is_file()] == [path]


def test_a_parent_that_is_a_file_is_refused(call: Call) -> None:
    Path("file").write_text("mine")
    code, out, err = call("plugin", "new", "cell", "slow-tide", "--into", "file")
    assert (code, out) == (2, "")
    assert "cannot be written: Not a directory" in err


# --- the templates themselves ----------------------------------------------------------------------------------------


def test_the_wheel_has_every_template() -> None:
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(ROOT))
    with builder.config.set_build_data({"artifacts": [], "force_include": {}, "build_hooks": ()}):
        packed = {file.distribution_path for file in builder.recurse_included_files()}
    package = ROOT / "platform"
    templates = [path for path in (package / "undertow" / "scaffold" / "templates").rglob("*") if path.is_file()]
    assert len(templates) == len(KINDS) * (len(FILES) + 1)
    assert {path.relative_to(package).as_posix() for path in templates} <= packed


def test_every_template_ends_in_template() -> None:
    folder = ROOT / "platform" / "undertow" / "scaffold" / "templates"
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".template"]


@pytest.mark.parametrize(
    ("kind", "result"), [("cell", "0.4808"), ("probe", "3.5355"), ("optimizer", "0.485"), ("callback", "0.7500")]
)
def test_the_worked_example_of_the_docstring_is_in_the_tests(call: Call, kind: str, result: str) -> None:
    call("plugin", "new", kind, "slow-tide")
    source = Path(f"slow-tide/src/slow_tide/{kind}.py").read_text()
    assert result in source.partition("Worked: ")[2].partition("Init")[0]
    assert result in Path("slow-tide/tests/test_slow_tide.py").read_text()

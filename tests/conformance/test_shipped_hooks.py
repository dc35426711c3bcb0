"""The shipped plugins as a whole: all there, quick to list, and built on public names alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import undertow
from undertow.plugins.host import load_plugins

PLUGINS = Path(__file__).parents[2] / "plugins"
HEAVY = ("torch", "torchrecurrent", "sklearn", "torchmetrics", "pytorch_lightning", "mlflow", "optuna")


def test_every_shipped_cell_and_task_is_offered() -> None:
    registry = load_plugins()
    assert {"rnn", "lstm", "gru", "ugrnn"} <= set(registry.cells)
    assert {"digits-by-pixel", "digit", "adding", "copy"} <= set(registry.tasks)
    assert [str(f) for f in registry.failures if f.distribution.startswith("undertow-")] == []


@pytest.mark.parametrize("hooks", ["undertow_cells.hooks", "undertow_tasks.hooks", "undertow_torchrecurrent.hooks"])
def test_hooks_import_nothing_heavy(hooks: str) -> None:
    code = f"import sys, {hooks}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_listing_calls_the_hooks_without_anything_heavy() -> None:
    code = (
        "import sys; from undertow.plugins.host import load_plugins; r = load_plugins(); "
        f"assert r.cells and r.tasks; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("distribution", ["undertow-cells", "undertow-tasks", "undertow-torchrecurrent"])
def test_plugins_use_public_names_alone(distribution: str) -> None:
    """They are examples for others, who have no more than that."""
    package = distribution.replace("-", "_")
    files = sorted((PLUGINS / distribution / "src" / package).glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom) and node.module == "undertow":
                assert set(imported) <= {*undertow.__all__, "draws"}, file
            elif isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("undertow."), file
            else:
                assert not any(name.split(".")[0] == "undertow" for name in imported), file


@pytest.mark.parametrize("kind", ["cells", "tasks"])
def test_every_option_says_what_it_is(kind: str) -> None:
    registry = load_plugins()
    for entry in getattr(registry, kind).values():
        if entry.plugin.distribution == f"undertow-{kind}":
            registry.factory(entry.spec)
            assert entry.spec.summary
            assert entry.spec.paper
            assert entry.spec.options.__doc__
            assert entry.spec.options() == entry.spec.options.model_validate({})

"""The shipped plugins as a whole: all registered, fast to list, and built on public names alone."""

import ast
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import undertow
from undertow.plugins.host import load_plugins
from undertow.testing.conformance import HEAVY

PLUGINS = Path(__file__).parents[2] / "plugins"
DISTRIBUTIONS = sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml"))
PUBLIC = {*undertow.__all__, "draws"}


def sources(distribution: str) -> list[Path]:
    return sorted((PLUGINS / distribution / "src").rglob("*.py"))


def private_imports(source: str) -> list[str]:
    """The imports from the platform that are not of its public names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == "undertow"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "undertow":
            names = {alias.name for alias in node.names}
            found += [f"{node.module}.{name}" for name in names if node.module != "undertow" or name not in PUBLIC]
    return found


def test_every_shipped_plugin_is_registered() -> None:
    registry = load_plugins()
    assert {"rnn", "lstm", "gru", "ugrnn"} <= set(registry.cells)
    assert {"digits-by-pixel", "digit", "adding", "copy"} <= set(registry.tasks)
    assert {"gradient-profile", "cost"} <= set(registry.probes)
    assert [str(f) for f in registry.failures if f.distribution.startswith("undertow-")] == []
    installed = {point.dist.name for point in entry_points(group="undertow") if point.dist}
    assert set(DISTRIBUTIONS) == {name for name in installed if name.startswith("undertow-")}


def test_listing_calls_the_hooks_without_anything_heavy() -> None:
    """Calls the hooks of every distribution, so it also covers the import of each."""
    code = (
        "import sys; from undertow.plugins.host import load_plugins; r = load_plugins(); "
        f"assert r.cells and r.tasks and r.probes; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_plugins_use_public_names_alone(distribution: str) -> None:
    """They are examples for other authors, who have no other names."""
    found = {str(file): private_imports(file.read_text()) for file in sources(distribution)}
    assert {file: imports for file, imports in found.items() if imports} == {}


def test_no_source_file_is_left_out() -> None:
    """Counts the files by another way than `sources`, which would not show what it does not find."""
    held = [Path(folder, name) for folder, _, names in os.walk(PLUGINS) for name in names if name.endswith(".py")]
    held = [file for file in held if file.relative_to(PLUGINS).parts[1] == "src"]
    assert len(held) >= 80
    assert sorted(held) == sorted(file for distribution in DISTRIBUTIONS for file in sources(distribution))


@pytest.mark.parametrize(
    "source", ["import undertow", "from undertow.nn import build_model", "from undertow import load_plugins"]
)
def test_a_private_import_is_found(source: str) -> None:
    assert private_imports(source)
    assert not private_imports("from undertow import Cell, draws\nfrom undertow_cells.options import Gru")


@pytest.mark.parametrize("kind", ["cells", "tasks"])
def test_every_spec_has_a_summary_a_paper_and_described_options(kind: str) -> None:
    registry = load_plugins()
    for entry in getattr(registry, kind).values():
        if entry.plugin.distribution == f"undertow-{kind}":
            registry.factory(entry.spec)
            assert entry.spec.summary
            assert entry.spec.paper
            assert entry.spec.options.__doc__
            assert entry.spec.options() == entry.spec.options.model_validate({})

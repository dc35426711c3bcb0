"""Rules of the repository that no other test checks: names, pins, and strings that refer to code."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import undertow
from undertow.api.spec import Spec
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Registry

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
SHIPPED = [path.name for path in PROJECTS[1:]]
TOP_LEVEL = {
    *("pyproject.toml", "Makefile", "constraints.txt", ".gitignore", ".dockerignore", ".pre-commit-config.yaml", ".ci"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
    *("platform", "plugins", "experiments", "tests", "docker"),
}


def project(folder: Path) -> dict[str, Any]:
    declared: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())
    return declared


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.rstrip("\0").split("\0")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_the_platform_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not list((ROOT / "platform").glob("*.py"))
    command = "import platform; print(platform.python_implementation())"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.implementation.name.replace("cpython", "CPython")


def test_no_test_lies_below_the_platform_folder() -> None:
    assert not [path for path in (ROOT / "platform").rglob("*.py") if re.match(r"conftest|test_|.*_test", path.stem)]


def test_the_top_level_holds_only_the_agreed_names() -> None:
    assert {path.partition("/")[0] for path in tracked()} <= TOP_LEVEL


def test_every_folder_at_the_top_and_every_plugin_has_a_readme() -> None:
    folders = {path.partition("/")[0] for path in tracked() if "/" in path and not path.startswith(".")}
    readmes = [ROOT / "README.md", *(ROOT / name / "README.md" for name in sorted(folders))]
    readmes += [folder / "README.md" for folder in PROJECTS[1:]]
    assert [str(path.relative_to(ROOT)) for path in readmes if not path.exists() or not path.read_text().strip()] == []


# --- versions --------------------------------------------------------------------------------------------------------


def test_every_constraint_is_one_exact_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    # No URL, no path, no marker, and no local label such as torch's +cpu, which exists on some machines only.
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert len(pins()) == len(lines)
    assert pins()["torch"]


# aeon requires an older pandas than the other packages are tested with: install it in an environment of its own.
UNPINNED = {"aeon"}


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name if folder != ROOT else "undertow")
def test_every_direct_dependency_is_pinned_within_its_range(folder: Path) -> None:
    declared = project(folder)
    wanted = [
        *declared["build-system"]["requires"],
        *declared["project"]["dependencies"],
        *(each for extra in declared["project"].get("optional-dependencies", {}).values() for each in extra),
    ]
    pinned = {canonicalize_name(name): version for name, version in pins().items()}
    requirements = [
        each for each in map(Requirement, wanted) if canonicalize_name(each.name) not in {"undertow", *UNPINNED}
    ]
    assert [str(each) for each in requirements if pinned.get(canonicalize_name(each.name)) is None] == []
    assert [
        f"{each}, pinned {pinned[canonicalize_name(each.name)]}"
        for each in requirements
        if pinned[canonicalize_name(each.name)] not in each.specifier
    ] == []


def test_the_version_is_the_same_everywhere() -> None:
    version = undertow.__version__
    assert metadata.version("undertow") == version
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


# --- strings that refer to code --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Registry:
    return load_plugins(allow=SHIPPED, strict=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_entry_point_of_a_shipped_plugin_resolves(name: str) -> None:
    declared = project(ROOT / "plugins" / name)["project"]["entry-points"]["undertow"]
    installed = metadata.distribution(name).entry_points.select(group="undertow")
    assert {point.name: point.value for point in installed} == declared
    assert all(point.load() for point in installed)


def test_every_factory_of_a_shipped_spec_resolves(shipped: Registry) -> None:
    specs: list[Spec] = [
        entry.spec for kind in (shipped.cells, shipped.tasks, shipped.probes) for entry in kind.values()
    ]
    assert {type(spec).__name__ for spec in specs} == {"CellSpec", "TaskSpec", "ProbeSpec"}
    assert all(shipped.factory(spec) for spec in specs)


def test_the_console_script_resolves() -> None:
    for script in metadata.distribution("undertow").entry_points.select(group="console_scripts"):
        assert callable(script.load())


def test_every_public_name_resolves_to_the_object_of_its_module() -> None:
    assert sorted(undertow.__all__) == sorted([*undertow._MODULE_OF, "draws"])
    assert undertow.draws is import_module("undertow.draws")
    for name, module in undertow._MODULE_OF.items():
        assert getattr(undertow, name) is getattr(import_module(module), name)

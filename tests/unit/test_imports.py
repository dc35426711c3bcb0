"""Commands that need no torch do not import it: neither light modules nor the plugins' hooks import torch or MLflow.

One process imports everything in turn and prints what each step imported; each module is then a test of its own. The
exceptions are the modules that ruff allows to import torch, so the linter and this test cannot disagree.
"""

import json
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "platform" / "undertow"
LINT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
HEAVY = {*LINT["flake8-tidy-imports"]["banned-module-level-imports"], "lightning", "scipy", "pandas", "matplotlib"}
MAY_BE_HEAVY = [
    pattern
    for pattern, rules in LINT["per-file-ignores"].items()
    if pattern.startswith("platform/") and "TID253" in rules
]
PLUGINS = "load_plugins"
"""The step that loads the shipped plugins and so imports their hooks."""

IMPORT_IN_TURN = f"""
import importlib, json, sys
seen, found = set(), {{}}
for step in json.loads(sys.argv[1]):
    if step == {PLUGINS!r}:
        importlib.import_module("undertow.plugins.host").load_plugins(strict=True)
    else:
        importlib.import_module(step)
    loaded = {{name.partition(".")[0] for name in sys.modules}}
    found[step] = sorted(loaded - seen)
    seen |= loaded
print(json.dumps(found))
"""


def light_modules() -> list[str]:
    files = [path.relative_to(ROOT) for path in sorted(SOURCE.rglob("*.py")) if path.stem != "__main__"]
    light = [file for file in files if not any(fnmatch(file.as_posix(), pattern) for pattern in MAY_BE_HEAVY)]
    return [".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__") for file in light]


STEPS = [*light_modules(), PLUGINS]


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """For each step the top-level modules that it imported first, `undertow.api.contract` last."""
    shipped = ",".join(path.name for path in (ROOT / "plugins").iterdir() if (path / "pyproject.toml").exists())
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_IN_TURN, json.dumps([*STEPS, "undertow.api.contract"])],
        env=os.environ | {"UNDERTOW_PLUGINS_ALLOW": shipped, "UNDERTOW_PLUGINS_BLOCK": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {step: set(names) for step, names in json.loads(done.stdout).items()}


@pytest.mark.parametrize("step", STEPS)
def test_nothing_heavy_is_imported_by(step: str, imported: dict[str, set[str]]) -> None:
    assert not imported[step] & HEAVY


def test_the_contract_imports_torch(imported: dict[str, set[str]]) -> None:
    assert "torch" in imported["undertow.api.contract"]


def test_every_light_module_is_a_step() -> None:
    assert {
        "undertow",
        "undertow.api.spec",
        "undertow.plugins.host",
        "undertow.tracking.outbox",
        "undertow.cli",
    } <= set(STEPS)
    assert not {"undertow.api.contract", "undertow.nn", "undertow.train.job"} & set(STEPS)

"""A third party's plugin, packaged and installed as any distribution is, is found by a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

SMOKE = Path(__file__).parents[2] / "experiments" / "smoke" / "digits.yaml"

HOOKS = """
    from undertow import CellSpec, Options, hookimpl

    class LeakyOptions(Options):
        leak: float = 0.1

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(
            name="third-party-leaky",
            summary="h = (1 - a) h + a tanh(Wx + Uh)",
            factory="third_party_leaky.cell:Leaky",
            options=LeakyOptions,
            state=("h",),
        )
"""

CELL = """
    import torch
    from undertow import Cell

    class Leaky(Cell):
        def __init__(self, input_size, hidden_size, options, length):
            super().__init__(input_size, hidden_size, options, length)
            self.input_map = torch.nn.Linear(input_size, hidden_size)
            self.recurrent_map = torch.nn.Linear(hidden_size, hidden_size, bias=False)

        def initial_state(self, batch_size):
            return (torch.zeros(batch_size, self.hidden_size),)

        def step(self, z, state):
            leak, (h,) = self.options.leak, state
            return ((1 - leak) * h + leak * torch.tanh(self.input_map(z) + self.recurrent_map(h)),)
"""

ASK = """
    import json, sys
    from undertow.plugins.host import load_plugins
    registry = load_plugins()
    cell = registry.cell("third-party-leaky")
    print(json.dumps({
        "torch": "torch" in sys.modules,
        "version": registry.versions().get("third-party-leaky"),
        "default": cell.options().leak,
        "class": registry.factory(cell).__name__,
        "failures": {failure.distribution: str(failure) for failure in registry.failures},
    }))
"""


def build(folder: Path, name: str, files: dict[str, str], target: Path) -> None:
    """Install a distribution of these files, as its author's users would: pip, hatchling, no network."""
    module = name.replace("-", "_")
    package = folder / "src" / module
    package.mkdir(parents=True)
    for file, code in files.items():
        (package / file).write_text(dedent(code))
    (folder / "pyproject.toml").write_text(
        dedent(f"""
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"

            [project]
            name = "{name}"
            version = "3.1"
            dependencies = ["undertow"]

            [project.entry-points.undertow]
            cells = "{module}.hooks"
        """)
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(folder)],
        check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sound third-party plugin and a broken one beside it."""
    target = tmp_path_factory.mktemp("site")
    sound = {"__init__.py": "", "hooks.py": HOOKS, "cell.py": CELL}
    build(tmp_path_factory.mktemp("sound"), "third-party-leaky", sound, target)
    broken = {"__init__.py": "", "hooks.py": "import a_module_that_nobody_has\n"}
    build(tmp_path_factory.mktemp("broken"), "third-party-broken", broken, target)
    return target


def undertow(site: Path, home: Path, *words: str) -> Any:
    """What a command answers to `--json`, with the plugins of `site` installed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("UNDERTOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "undertow.cli", *words, "--json"],
        env={**env, "PYTHONPATH": str(site), "UNDERTOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_an_installed_plugin_is_found_and_a_broken_one_beside_it_is_reported(site: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("UNDERTOW_")}
    done = subprocess.run(
        [sys.executable, "-c", dedent(ASK)],
        env={**env, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["version"] == "3.1"
    assert answer["default"] == 0.1
    assert answer["class"] == "Leaky"
    assert answer["torch"] is False
    broken = answer["failures"]["third-party-broken"]
    assert "No module named 'a_module_that_nobody_has'" in broken
    assert str(site / "third_party_broken" / "hooks.py") in broken

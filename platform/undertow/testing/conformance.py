"""What the kits share: the plugin under test, its options, and the two checks that every kind has.

pytest is not needed: a check is skipped with `unittest.SkipTest`, which pytest also shows as skipped.
"""

import functools
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Self
from unittest import SkipTest

from pydantic import ValidationError

from undertow.api.spec import Options
from undertow.plugins.host import load_plugins
from undertow.plugins.kinds import KindName
from undertow.plugins.registry import Entry, Registry
from undertow.plugins.scratch import describe
from undertow.testing.asserts import expect

HEAVY = (
    *("torch", "torchmetrics", "pytorch_lightning", "lightning_fabric", "mlflow", "optuna"),
    *("sklearn", "scipy", "pandas", "matplotlib", "tensorflow", "jax"),
)
"""What importing a module of hooks must not import, so that `undertow list` is fast."""


class ExpectedFailure(SkipTest):
    """A check failed, as `expected_failures` declares; the message is the reason."""


class Conformance:
    """One plugin object under test.

    Attributes:
        name: Its name in the catalogue.
        plugins: Scratch files to load beside the installed plugins.
        options: Values that are not the defaults, or a complete `Options` object.
        expected_failures: Reason by name of the check (without ``test_``). Strict: a check that passes is a failure.
        remark: What the last check reports beside its result, such as a cost.
    """

    kind: ClassVar[KindName]
    name: str
    plugins: Sequence[str | Path] = ()
    options: Mapping[str, Any] | Options = MappingProxyType({})
    expected_failures: Mapping[str, str] = MappingProxyType({})
    remark: str = ""
    _registries: ClassVar[dict[tuple[object, ...], Registry]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unknown = sorted(set(cls.expected_failures) - set(cls.checks()))
        if unknown:
            raise TypeError(f"{cls.__name__}.expected_failures: there is no check {', '.join(unknown)}")
        for check, reason in cls.expected_failures.items():
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.expected_failures: say why {check} is expected to fail")
            method = getattr(cls, f"test_{check}")
            if not hasattr(method, "expected_to_fail"):
                setattr(cls, f"test_{check}", _expected_to_fail(method, reason))

    @classmethod
    def of(
        cls,
        name: str,
        *,
        plugins: Sequence[str | Path] = (),
        options: Mapping[str, Any] | Options | None = None,
        expected_failures: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Self:
        """The kit for one plugin object, ready for `run_checks`.

        Args:
            name: As the attribute.
            plugins: As the attribute.
            options: As the attribute.
            expected_failures: As the attribute.
            **more: Other attributes of the kit, such as a task's `length`.

        Raises:
            TypeError: An attribute or a check that the kit does not have.
        """
        unknown = [key for key in more if not hasattr(cls, key)]
        if unknown:
            raise TypeError(f"{cls.__name__} has no attribute {', '.join(unknown)}")
        given = {"options": options or {}, "expected_failures": expected_failures or {}, **more}
        made: type[Self] = type(cls.__name__, (cls,), {"name": name, "plugins": tuple(plugins), **given})
        return made()

    @classmethod
    def checks(cls) -> list[str]:
        """The names of all checks in the order in which they run: those of the base classes first, left to right."""
        inherited = (check for base in cls.__bases__ if issubclass(base, Conformance) for check in base.checks())
        own = (name.removeprefix("test_") for name in vars(cls) if name.startswith("test_"))
        return list(dict.fromkeys((*inherited, *own)))

    @classmethod
    def question(cls, check: str) -> str:
        """The question that a check answers: the first line of its docstring."""
        return (inspect.getdoc(getattr(cls, f"test_{check}", None)) or "").partition("\n")[0]

    @property
    def registry(self) -> Registry:
        """The installed plugins and the scratch files; loaded again if these, or the module path, have changed."""
        key = (*(describe(Path(file).resolve()) for file in self.plugins), *sys.path)
        if key not in self._registries:
            self._registries[key] = load_plugins(files=self.plugins)
        return self._registries[key]

    @property
    def entry(self) -> Entry[Any]:
        """The spec under test and the plugin that registers it."""
        return self.registry.find(self.kind, self.name)

    def made_options(self) -> Options:
        """The options under test, as the factory receives them."""
        if isinstance(self.options, Options):
            return self.options
        model: type[Options] = self.entry.spec.options
        return model.model_validate_json(json.dumps(dict(self.options)))

    def skip(self, reason: str) -> NoReturn:
        """End a check that does not apply.

        Raises:
            SkipTest: Always.
        """
        raise SkipTest(reason)

    # --- checks of every kind ----------------------------------------------------------------------------------------

    def test_hooks_import_nothing_heavy(self) -> None:
        """Does importing the hooks import no heavy library such as torch, so that listing many plugins is fast?"""
        plugin = self.entry.plugin
        if plugin.scratch:
            self.skip("a scratch file contains both hooks and class")
        found = heavy_imports((plugin.module,), tuple(filter(None, sys.path)))[plugin.module]
        expect(
            not found,
            f"importing `{plugin.module}`, which contains the hooks, imports {', '.join(found)}. Keep hooks and "
            "options in separate modules, and name the class by a string: factory='package.module:Class'.",
        )

    def test_options_are_told_and_read_back(self) -> None:
        """Has every option a description, and are options equal after they were written and read back?"""
        model: type[Options] = self.entry.spec.options
        descriptions = {name: field.description for name, field in model.model_fields.items()}
        missing = [name for name, description in descriptions.items() if not (description or "").strip()]
        expect(
            not missing,
            f"{model.__name__}: {', '.join(missing)} without a description. Write a docstring below each option, or "
            "Field(description=…): `undertow list` shows it.",
        )
        expect(
            bool(model.model_config.get("frozen")) and model.model_config.get("extra") == "forbid",
            f"{model.__name__}: options must be frozen and refuse unknown keys. Keep both settings of model_config as "
            "in `undertow.Options`.",
        )
        options = self.made_options()
        written = options.model_dump_json()
        try:
            again = model.model_validate_json(written)
        except ValidationError as error:
            raise AssertionError(
                f"{model.__name__}: written as {written}, it cannot be read back: {error}. A run records all its "
                "options, and a resumed run reads them back."
            ) from error
        expect(again == options, f"{model.__name__}: {written} is read back as {again!r}, not as {options!r}.")


def _expected_to_fail(method: Callable[[Any], None], reason: str) -> Callable[[Any], None]:
    @functools.wraps(method)
    def check(self: Any) -> None:
        try:
            method(self)
        except SkipTest:
            raise
        except Exception as error:
            raise ExpectedFailure(reason) from error
        raise AssertionError(f"it was expected to fail ({reason}), but passes: take it out of expected_failures.")

    vars(check)["expected_to_fail"] = reason
    return check


def environment(path: Sequence[str]) -> dict[str, str]:
    """The environment in which another Python finds the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


@functools.cache
def heavy_imports(modules: tuple[str, ...], path: tuple[str, ...]) -> dict[str, list[str]]:
    """The heavy libraries that are loaded after each module was imported, one after the other in a new process.

    Args:
        modules: Names of modules.
        path: The module path.

    Raises:
        AssertionError: A module cannot be imported.
    """
    code = (
        "import importlib, json, sys\n"
        "from undertow._system.stdout import stdout_to_stderr\n"
        "with stdout_to_stderr(restore=False) as stdout:\n"
        f"    for module in {modules!r}:\n"
        "        importlib.import_module(module)\n"
        f"        print(json.dumps([module, sorted(set(sys.modules) & {set(HEAVY)})]), file=stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(path), capture_output=True, text=True, check=False
    )
    expect(done.returncode == 0, f"`import {', '.join(modules)}` fails in a new process:\n{done.stderr.strip()}")
    return dict(json.loads(line) for line in done.stdout.splitlines())

"""What the three kits share: which plugin is checked, with which options, and the two checks that every kind has.

No pytest is needed: a skip is `unittest.SkipTest`, which pytest shows as one of its own.
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
from typing import Any, ClassVar, Literal, NoReturn, Self
from unittest import SkipTest

from pydantic import ValidationError

from undertow.api.spec import Options, Spec
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Entry, Registry
from undertow.testing.asserts import expect

Kind = Literal["cell", "task", "probe"]

HEAVY = (
    *("torch", "torchmetrics", "pytorch_lightning", "lightning_fabric", "mlflow", "optuna"),
    *("sklearn", "scipy", "pandas", "matplotlib", "tensorflow", "jax"),
)
"""What `undertow list` must not wait for."""


class ExpectedFailure(SkipTest):
    """A check failed, as its author said it would; the message is the reason."""


class Conformance:
    """One plugin object under test.

    Attributes:
        name: Of the cell, task or probe.
        plugins: Scratch files to load beside what is installed.
        options: Those that are not the defaults; or all of them, as the plugin's own options.
        expected_failures: Reason by name of the check (without ``test_``). Strict: one that passes has failed.
        remark: What the last check found worth telling although it passed, such as a cost.
    """

    kind: ClassVar[Kind]
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
            name: Of the cell, task or probe.
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
        """The names of all checks, in the order in which they run: those of every kind first."""
        classes = [each for each in reversed(cls.__mro__) if issubclass(each, Conformance)]
        found = (name for each in classes for name in vars(each) if name.startswith("test_"))
        return [name.removeprefix("test_") for name in dict.fromkeys(found)]

    @classmethod
    def question(cls, check: str) -> str:
        """What a check asks: the first line of its docstring."""
        return (inspect.getdoc(getattr(cls, f"test_{check}", None)) or "").partition("\n")[0]

    @property
    def registry(self) -> Registry:
        """What is installed, and the scratch files; loaded once, until a file changes."""
        files = [Path(file).resolve() for file in self.plugins]
        key = (*((file, file.stat().st_mtime_ns) for file in files if file.exists()), *sys.path)
        if key not in self._registries:
            self._registries[key] = load_plugins(files=self.plugins)
        return self._registries[key]

    @property
    def entry(self) -> Entry[Any]:
        """The spec under test and the plugin it came from."""
        find: Callable[[str], Spec] = getattr(self.registry, self.kind)
        entries: Mapping[str, Entry[Any]] = getattr(self.registry, f"{self.kind}s")
        return entries[find(self.name).name]

    def made_options(self) -> Options:
        """The options under test, as the plugin gets them."""
        if isinstance(self.options, Options):
            return self.options
        model: type[Options] = self.entry.spec.options
        return model.model_validate_json(json.dumps(dict(self.options)))

    def skip(self, reason: str) -> NoReturn:
        """End a check that has nothing to look at.

        Raises:
            SkipTest: Always.
        """
        raise SkipTest(reason)

    # --- checks of every kind ----------------------------------------------------------------------------------------

    def test_hooks_import_nothing_heavy(self) -> None:
        """Does importing the hooks leave torch and its like alone, so that listing a thousand plugins is quick?"""
        plugin = self.entry.plugin
        if plugin.scratch:
            self.skip("a scratch file holds hooks and class in one")
        found = _dragged_in(plugin.module, tuple(filter(None, sys.path)))
        expect(
            not found,
            f"importing `{plugin.module}`, which holds the hooks, imports {', '.join(found)}. Keep the hooks and the "
            "options in modules of their own, and name the class as text: factory='package.module:Class'.",
        )

    def test_options_are_told_and_read_back(self) -> None:
        """Does every option say what it is, and do options survive being written to a file and read again?"""
        model: type[Options] = self.entry.spec.options
        told = {name: field.description for name, field in model.model_fields.items()}
        silent = [name for name, words in told.items() if not (words or "").strip()]
        expect(
            not silent,
            f"{model.__name__}: nothing says what {', '.join(silent)} means. Write a docstring below each option, or "
            "Field(description=…): `undertow list` shows it.",
        )
        expect(
            bool(model.model_config.get("frozen")) and model.model_config.get("extra") == "forbid",
            f"{model.__name__}: options must be frozen and refuse unknown keys. Leave both in model_config as "
            "`undertow.Options` has them.",
        )
        options = self.made_options()
        written = options.model_dump_json()
        try:
            again = model.model_validate_json(written)
        except ValidationError as error:
            raise AssertionError(
                f"{model.__name__}: what it writes, {written}, it refuses to read: {error}. A run records its options "
                "in full, and a resumed run reads them back."
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
    """The environment of another Python that finds the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


@functools.cache
def _dragged_in(module: str, path: tuple[str, ...]) -> list[str]:
    """The heavy libraries that importing a module imports, in a process of its own."""
    code = (
        f"import importlib, sys; importlib.import_module({module!r}); print(*sorted(set(sys.modules) & {set(HEAVY)}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(path), capture_output=True, text=True, check=False
    )
    expect(done.returncode == 0, f"`import {module}` fails in a process of its own:\n{done.stderr.strip()}")
    lines = done.stdout.splitlines()
    return lines[-1].split() if lines else []

"""The callbacks of plugins: built from the configuration, called as Lightning calls them, and what they log recorded.

    callbacks = build_callbacks(loaded)                     # raises RequestError for what cannot be built
    ours = guarded_callbacks(callbacks, config.callbacks, record)
    Trainer(callbacks=[..., *ours], logger=RecordLogger(record, folder))

An error in a hook ends the run, with the name of the plugin in its message. With ``on_error: warn`` it is recorded as
the tag ``undertow.callback.<name>.error``, and the callback is called no more; so it is with an error after the last
training step, since a run that is trained stays one.
"""

import functools
import types
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from undertow.config.load import LoadedExperiment
from undertow.config.schema import CallbackConfig
from undertow.errors import DiskFull, Diverged, Interrupted, RequestError, UndertowError
from undertow.plugins.registry import describe_error
from undertow.train.record import Record

_FAILED = "undertow_failed"
"""In the state of a callback that is called no more: what it failed with."""

_HOOKS = tuple(name for name in vars(pl.Callback) if name == "setup" or name == "teardown" or name.startswith("on_"))
_AFTER_TRAINING = ("on_fit_end", "on_exception", "teardown")
"""Hooks whose error does not change how a run ends, like those of the test."""


class CallbackFailed(UndertowError):
    """A callback of a plugin raised an error; the message has its name, the hook and the step."""


def build_callbacks(loaded: LoadedExperiment) -> dict[str, pl.Callback]:
    """Build the callbacks of an experiment, by name.

    Raises:
        RequestError: A plugin cannot be loaded, or its callback cannot be built with these options.
    """
    callbacks: dict[str, pl.Callback] = {}
    for entry in loaded.config.callbacks:
        spec = loaded.registry.callback(entry.name)
        factory = loaded.registry.factory(spec)
        options = spec.options.model_validate(entry.options)
        try:
            callbacks[entry.name] = factory(options)
        except RequestError:
            raise
        except Exception as error:  # a plugin's code may raise anything
            where = f"callback `{entry.name}` ({spec.factory})"
            raise RequestError(f"{where} cannot be built: {describe_error(error)}") from error
    return callbacks


def guarded_callbacks(
    callbacks: Mapping[str, pl.Callback], entries: Sequence[CallbackConfig], record: Record
) -> list[pl.Callback]:
    """Change callbacks so that an error in a hook names the plugin, and each keeps its state under the plugin's name.

    Args:
        callbacks: From `build_callbacks`; changed in place.
        entries: The section `callbacks` of the configuration.
        record: Where errors go.

    Returns:
        The callbacks, in the order of `entries`.
    """
    for entry in entries:
        _guard(callbacks[entry.name], entry, record)
    return [callbacks[entry.name] for entry in entries]


class RecordLogger(Logger):
    """Records what callbacks log, at the step where they log it; the network's own scores are recorded elsewhere.

    Args:
        record: Where the values go.
        folder: The folder of the run's checkpoints, `Trainer.log_dir`.

    Attributes:
        new: The names of the values that were logged since they were last recorded.
    """

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self.new: set[str] = set()

    @property
    def name(self) -> str:
        """The name that Lightning asks for."""
        return "undertow"

    @property
    def version(self) -> str:
        """Empty: a run has one."""
        return ""

    @property
    def log_dir(self) -> str:
        """The folder of the run's checkpoints."""
        return str(self._folder)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record the new values at the training steps done; `step` counts from 0, and is not used."""
        new = {name: value for name, value in metrics.items() if name in self.new}
        self.new -= new.keys()
        if own := {name: value for name, value in new.items() if not name.startswith("val/")}:
            self._record.scalars(own, self._record.steps)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is recorded already."""


def _guard(callback: pl.Callback, entry: CallbackConfig, record: Record) -> None:
    """Give a callback a class of its own, whose hooks are guarded; only those that it has, for each call takes time."""
    guard = _Guard(entry, record)
    cls = type(callback)
    hooks = {
        name: guard.hook(name, getattr(cls, name))
        for name in _HOOKS
        if getattr(cls, name) is not getattr(pl.Callback, name)
    }
    members = {
        **hooks,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "state_key": f"undertow/{entry.name}",
        "state_dict": guard.saving(cls.state_dict),
        "load_state_dict": guard.loading(cls.load_state_dict),
    }
    callback.__class__ = types.new_class(cls.__name__, (cls,), exec_body=lambda namespace: namespace.update(members))


class _Guard:
    """What happens to the errors of one callback."""

    def __init__(self, entry: CallbackConfig, record: Record) -> None:
        self._entry = entry
        self._record = record
        self._failed = ""

    def hook(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(callback: pl.Callback, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> Any:
            if self._failed:
                return None
            try:
                return function(callback, trainer, *args, **kwargs)
            except (CallbackFailed, Diverged, DiskFull, Interrupted):
                raise
            except Exception as error:  # noqa: BLE001  (a callback is a plugin's code, and may raise anything)
                ends = not (name in _AFTER_TRAINING or name.startswith("on_test_"))
                self._fail(error, f"in {name} at step {trainer.global_step}", ends=ends)

        return guarded

    def saving(self, function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        @functools.wraps(function)
        def state_dict(callback: pl.Callback) -> dict[str, Any]:
            if not self._failed:
                try:
                    return function(callback)
                except Exception as error:  # noqa: BLE001  (as above)
                    self._fail(error, "in state_dict")
            return {_FAILED: self._failed}

        return state_dict

    def loading(self, function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def load_state_dict(callback: pl.Callback, state_dict: dict[str, Any]) -> None:
            if _FAILED in state_dict:
                self._failed = state_dict[_FAILED]
                return
            try:
                function(callback, state_dict)
            except Exception as error:  # noqa: BLE001  (as above)
                self._fail(error, "in load_state_dict")

        return load_state_dict

    def _fail(self, error: Exception, where: str, *, ends: bool = True) -> None:
        what = f"callback `{self._entry.name}` failed {where}"
        text = f"{what}: {type(error).__name__}: {error}{self._record.traceback(error, what)}"
        if ends and self._entry.on_error == "fail":
            raise CallbackFailed(text) from error
        self._failed = text
        self._record.tag(f"undertow.callback.{self._entry.name}.error", text)

"""Classes that a configuration names by import path: a sampler or a pruner of Optuna, a logger of Lightning.

    cls = import_class("optuna_integration.BoTorchSampler", "study.sampler.name")
    require_options(cls, {"n_startup_trials": 3}, "study.sampler.options")

`UNDERTOW_PLUGINS_ALLOW` limits them as it limits plugins: where it is set, the distribution that has the module must be
in it, or be one of those that this platform itself is built on.
"""

import inspect
import re
from collections.abc import Iterable
from importlib import import_module, metadata
from inspect import isclass
from typing import Any

from undertow.errors import RequestError, did_you_mean
from undertow.plugins.discovery import module_refusal
from undertow.plugins.registry import describe_error

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_import_path(name: str) -> bool:
    """Whether a name has the form ``module.Class``, with any number of dots."""
    return _PATH.fullmatch(name) is not None


def import_class(path: str, key: str) -> type[Any]:
    """Import a class by its path, such as ``optuna.samplers.TPESampler``.

    Args:
        path: The module, a dot, and the class.
        key: The key of the configuration that names it, for messages.

    Raises:
        RequestError: The environment forbids the module, it cannot be imported, or it has no such class.
    """
    module_name, _, name = path.rpartition(".")
    package = module_name.partition(".")[0]
    if refusal := module_refusal(package, metadata.packages_distributions().get(package, [])):
        raise RequestError(f"{key}: {path}: {refusal}")
    try:
        module = import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything, SystemExit too
        raise RequestError(
            f"{key}: {path}: `{module_name}` cannot be imported: {describe_error(error)}. Install what it needs, or "
            "correct the path"
        ) from error
    found = getattr(module, name, None)
    if not isclass(found):
        classes = (each for each, value in vars(module).items() if isclass(value))
        raise RequestError(f"{key}: {path}: `{module_name}` has no class `{name}`.{did_you_mean(name, classes)}")
    return found


def require_options(cls: type[Any], options: Iterable[str], key: str, called: str = "") -> None:
    """Check that a class takes these arguments.

    Args:
        cls: The class.
        options: The names of the arguments.
        key: The section of the configuration that has them, for messages.
        called: How a configuration names the class, if not by its import path.

    Raises:
        RequestError: It does not take one; the message has the nearest name.
    """
    parameters = inspect.signature(cls).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    name = f"{cls.__name__} (`{called}`)" if called else cls.__name__
    for option in options:
        if option not in parameters:
            raise RequestError(f"{key}.{option}: {name} has no such argument.{did_you_mean(option, parameters)}")

"""What a spec must be before it enters the registry: the first thing wrong with it, in words.

    reason, remedy = api_fault(spec) or spec_fault(spec) or ("", "")

A spec is made by a stranger's code, so nothing about it is taken for granted: its fields may hold anything.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from undertow.api.spec import API_WINDOW, CellSpec, Direction, Lengths, Options, Shape, Spec, TaskSpec

Fault = tuple[str, str]
"""What is wrong, and what to do about it."""

_WORDS = r"[a-z0-9]+(-[a-z0-9]+)*"
_NAME = re.compile(rf"(?=[a-z]){_WORDS}(/{_WORDS})*")
_STATE_PART = re.compile(r"[a-z][a-z0-9_]*")
_METRIC = re.compile(r"[A-Za-z0-9_.-]+")
_PYTHON = r"[^\W\d]\w*"
_FACTORY = re.compile(rf"({_PYTHON}(\.{_PYTHON})*)?:{_PYTHON}")


def api_fault(spec: Spec) -> Fault | None:
    """Why this host cannot speak with what the spec was written for, if it cannot."""
    api: Any = spec.api
    if type(api) is not int:
        return (
            f"api is {api!r}, not a whole number.",
            "Leave `api` out: it says which contract you wrote for.",
        )
    if api in API_WINDOW:
        return None
    window = f"{API_WINDOW[0]}" if len(API_WINDOW) == 1 else f"{API_WINDOW[0]} to {API_WINDOW[-1]}"
    older = "the plugin" if api < API_WINDOW[0] else "undertow"
    return f"it was written for api {api}; this undertow speaks api {window}.", f"Upgrade {older}."


def spec_fault(spec: Spec) -> Fault | None:
    """The first thing that is wrong with a spec, if anything is."""
    return next(_faults(spec), None)


def _faults(spec: Any) -> Iterator[Fault]:
    if not (isinstance(spec.name, str) and _NAME.fullmatch(spec.name)):
        yield f"{spec.name!r} is no name.", "Write lower-case words joined by hyphens, such as `leaky-rnn`."
    if not isinstance(spec.summary, str) or not spec.summary.strip() or "\n" in spec.summary.strip():
        yield f"summary is {spec.summary!r}.", "Say in one line what it is: the catalogue shows it."
    if not (isinstance(spec.factory, str) and _FACTORY.fullmatch(spec.factory)):
        yield (
            f"factory is {spec.factory!r}.",
            'Write "package.module:Class", or ":Class" for the module that holds the hooks.',
        )
    if not (isinstance(spec.options, type) and issubclass(spec.options, Options)):
        yield (
            f"options is {spec.options!r}.",
            "Name a subclass of `undertow.Options` (the class, not an object).",
        )
    if not isinstance(spec.paper, str):
        yield f"paper is {spec.paper!r}.", "Write the source as text, or leave it out."
    if isinstance(spec, CellSpec):
        yield from _cell_faults(spec)
    if isinstance(spec, TaskSpec):
        yield from _task_faults(spec)


def _cell_faults(spec: Any) -> Iterator[Fault]:
    parts = spec.state
    legal = isinstance(parts, tuple) and all(isinstance(part, str) and _STATE_PART.fullmatch(part) for part in parts)
    if not legal or not parts or len(set(parts)) < len(parts):
        yield f"state is {parts!r}.", 'Name each part of the state once, such as ("h",) or ("h", "c").'


def _task_faults(spec: Any) -> Iterator[Fault]:
    if spec.shape not in get_args(Shape):
        yield f"shape is {spec.shape!r}.", f"Choose one of {', '.join(get_args(Shape))}."
    lengths = spec.lengths
    if not isinstance(lengths, Lengths) or not _orderly(lengths):
        yield f"lengths is {lengths!r}.", "Write Lengths(default=…) with 1 <= minimum <= default <= maximum."
    legal = isinstance(spec.metrics, Mapping) and all(
        isinstance(name, str) and _METRIC.fullmatch(name) and direction in get_args(Direction)
        for name, direction in spec.metrics.items()
    )
    if not legal:
        yield (
            f"metrics is {spec.metrics!r}.",
            'Write the better direction by name, such as {"accuracy": "max"}.',
        )


def _orderly(lengths: Lengths) -> bool:
    ends = [lengths.minimum, lengths.default, *([] if lengths.maximum is None else [lengths.maximum])]
    return all(type(end) is int for end in ends) and ends == sorted(ends) and ends[0] >= 1

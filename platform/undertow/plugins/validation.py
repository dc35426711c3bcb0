"""Validation of a spec before it enters the registry: the first thing that is wrong with it.

    reason, remedy = api_fault(spec) or spec_fault(spec) or ("", "")

A spec is made by a plugin's code and may be of any form: each field may hold a value of any type.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from undertow.api.spec import (
    API_WINDOW,
    BlockSpec,
    CallbackSpec,
    CellSpec,
    Direction,
    Lengths,
    OptimizerSpec,
    Options,
    ProbeSpec,
    Shape,
    Spec,
    TaskSpec,
)

Fault = tuple[str, str]
"""What is wrong, and what to do about it."""

_WORDS = r"[a-z0-9]+(-[a-z0-9]+)*"
_NAME = re.compile(rf"(?=[a-z]){_WORDS}(/{_WORDS})*")
_STATE_PART = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NOT_PARTS = {"input", "joint"}
"""What stands in the place of a state part in names of metrics, such as ``jacobian/joint/by_lag``."""

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CHECKPOINTS = {"last.ckpt", "best.ckpt", "previous.ckpt"}
_METRIC = re.compile(r"[A-Za-z0-9_.-]+")
_PYTHON = r"[^\W\d]\w*"
_FACTORY = re.compile(rf"({_PYTHON}(\.{_PYTHON})*)?:{_PYTHON}")


def api_fault(spec: Spec) -> Fault | None:
    """Why this host does not support the version of the contract that a spec was written for; None if it does."""
    api: Any = spec.api
    if type(api) is not int:
        return (
            f"api is {api!r}, not a whole number.",
            "Leave `api` out: it is the version of the contract that the plugin is written for.",
        )
    if api in API_WINDOW:
        return None
    window = f"{API_WINDOW[0]}" if len(API_WINDOW) == 1 else f"{API_WINDOW[0]} to {API_WINDOW[-1]}"
    older = "the plugin" if api < API_WINDOW[0] else "undertow"
    return f"it was written for api {api}; this undertow supports api {window}.", f"Upgrade {older}."


def spec_fault(spec: Spec) -> Fault | None:
    """The first thing that is wrong with a spec; None if nothing is."""
    return next(_faults(spec), None)


def _faults(spec: Any) -> Iterator[Fault]:
    if not (isinstance(spec.name, str) and _NAME.fullmatch(spec.name)):
        yield f"{spec.name!r} is not a legal name.", "Write lower-case words joined by hyphens, such as `leaky-rnn`."
    if not isinstance(spec.summary, str) or not spec.summary.strip() or "\n" in spec.summary.strip():
        yield f"summary is {spec.summary!r}.", "Describe it in one line, for the catalogue."
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
    if isinstance(spec, BlockSpec) and not isinstance(spec.equation, str):
        yield f"equation is {spec.equation!r}.", "Write it as text, or leave it out."
    if isinstance(spec, TaskSpec):
        yield from _task_faults(spec)
    if isinstance(spec, ProbeSpec | CallbackSpec):
        yield from _measures_faults(spec)
    if isinstance(spec, CallbackSpec):
        yield from _files_faults(spec)
        yield from _flag_faults(spec, "changes_training")
    if isinstance(spec, OptimizerSpec):
        yield from _flag_faults(spec, "elementwise")


def _cell_faults(spec: Any) -> Iterator[Fault]:
    parts = spec.state
    example = 'such as ("h",) or ("h", "c").'
    if not isinstance(parts, tuple) or not all(isinstance(part, str) for part in parts):
        yield f"state is {parts!r}, not a tuple of names.", f"Write a tuple of names, {example}"
        return
    if not parts:
        yield "state is empty.", f"Name every part of the state, {example}"
    for part in parts:
        if not _STATE_PART.fullmatch(part):
            remedy = "Use letters, digits and `_`, a letter first: the name becomes a part of metric names."
            yield f"the state part {part!r} has characters that are not allowed.", remedy
        elif part in _NOT_PARTS:
            yield f"the state part {part!r} has a reserved name.", "Choose another name: metrics use this one."
        elif parts.count(part) > 1:
            yield f"the state part {part!r} is there twice.", "Give each part a name of its own."


def _task_faults(spec: Any) -> Iterator[Fault]:
    if spec.shape not in get_args(Shape):
        yield f"shape is {spec.shape!r}.", f"Choose one of {', '.join(get_args(Shape))}."
    lengths = spec.lengths
    if not isinstance(lengths, Lengths) or not _ordered(lengths):
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


def _measures_faults(spec: Any) -> Iterator[Fault]:
    legal = isinstance(spec.measures, Mapping) and all(
        isinstance(text, str) and text.strip() and "\n" not in text.strip()
        for pair in spec.measures.items()
        for text in pair
    )
    if not legal:
        yield (
            f"measures is {spec.measures!r}.",
            'Write one line by metric name, such as {"gradient/<part>/level": "log10 of the gradient at lag 1"}.',
        )


def _files_faults(spec: Any) -> Iterator[Fault]:
    files = spec.files
    if not isinstance(files, tuple) or not all(isinstance(name, str) and _FILE.fullmatch(name) for name in files):
        yield f"files is {files!r}.", 'Write a tuple of names of files without folders, such as ("average.pt",).'
    elif taken := sorted(_CHECKPOINTS & set(files)):
        yield f"files has {taken[0]!r}.", "Choose another name: it is that of a checkpoint of the run."


def _flag_faults(spec: Any, name: str) -> Iterator[Fault]:
    if not isinstance(value := getattr(spec, name), bool):
        yield f"{name} is {value!r}.", "Write True or False."


def _ordered(lengths: Lengths) -> bool:
    ends = [lengths.minimum, lengths.default, *([] if lengths.maximum is None else [lengths.maximum])]
    return all(type(end) is int for end in ends) and ends == sorted(ends) and ends[0] >= 1

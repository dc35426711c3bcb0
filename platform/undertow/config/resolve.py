"""The second pass: validate a configuration against the plugins, and fill in their defaults.

    config = resolve(config, source, registry)

Names of cells, tasks, probes, optimisers, callbacks and metrics must exist, the task must allow the length, and the
plugin's own model validates the options. Options of a cell, task or optimiser that is not the chosen one are left out
of the result.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from undertow._system.names import check_name
from undertow.api.spec import Options, Spec, TaskSpec
from undertow.config.explain import explain
from undertow.config.schema import CallbackConfig, ExperimentConfig, OptimConfig, ProbeConfig
from undertow.config.source import Source, shown
from undertow.config.yaml12 import Keys
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.builtin import KEYS, OPTIMIZERS
from undertow.plugins.registry import Registry, describe_error

ONLY_AT_THE_END = (
    "is measured once, after training, and nothing is chosen by it: name a metric of the validation split, `val/…`"
)
"""What is wrong with a metric of the test split in the place of one that decides something."""

M = TypeVar("M", bound=BaseModel)
L = TypeVar("L", ProbeConfig, CallbackConfig)
S = TypeVar("S", bound=Spec)


def resolve(config: ExperimentConfig, source: Source, registry: Registry) -> ExperimentConfig:
    """Validate everything that depends on the plugins, and fill in their defaults.

    Args:
        config: Valid by the host's own schema.
        source: Where its values were written.
        registry: What the plugins offer.

    Raises:
        RequestError: A line for each mistake.
    """
    validation = _Validation(source, registry)
    cell = validation.find(registry.cell, config.cell.name, "cell", "name")
    task = validation.find(registry.task, config.task.name, "task", "name")
    block = validation.find(registry.block, config.cell.block, "cell", "block")
    optimizer = validation.find(registry.optimizer, config.optim.name, "optim", "name")
    validation.find_all(registry.cell, config.cell.options, "cell", "options")
    validation.find_all(registry.block, config.cell.block_options, "cell", "block_options")
    validation.find_all(registry.task, config.task.options, "task", "options")
    cell_options = validation.chosen_options(cell, config.cell.options, "cell", "options")
    block_options = validation.chosen_options(block, config.cell.block_options, "cell", "block_options")
    task_options = validation.chosen_options(task, config.task.options, "task", "options")
    validation.find_all(registry.optimizer, config.optim.options, "optim", "options")
    validation.optimizer_keys(config.optim)
    optim_options = validation.chosen_options(optimizer, config.optim.options, "optim", "options")
    length = validation.length(task, config.task.length)
    validation.other_lengths(task, config.evaluate.lengths)
    validation.metrics(task, config)
    validation.bidirectional(task, config)
    probes = [validation.listed(registry.probe, "probes", config.probes, index) for index in range(len(config.probes))]
    callbacks = [
        validation.listed(registry.callback, "callbacks", config.callbacks, index)
        for index in range(len(config.callbacks))
    ]
    if validation.problems:
        raise RequestError("\n".join(validation.problems))
    return config.model_copy(
        update={
            "cell": config.cell.model_copy(update={"options": cell_options, "block_options": block_options}),
            "task": config.task.model_copy(update={"options": task_options, "length": length}),
            "optim": config.optim.model_copy(update={"options": optim_options if any(optim_options.values()) else {}}),
            "probes": probes,
            "callbacks": callbacks,
        }
    )


def validate(model: type[M], data: Any, source: Source, prefix: Keys) -> M | list[str]:
    """Validate plain data, strictly: ``"64"`` is not 64.

    The data pass through JSON, since pydantic's strict rules for Python objects refuse what a file cannot hold in
    another form (a list for a tuple, text for a path).

    Args:
        model: What the data should be.
        data: Sections, lists and scalars.
        source: Where they were written.
        prefix: The keys from the top of `source` to the data.

    Returns:
        The model, or a line for each mistake.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        return explain(error, model, source, prefix)


class _Validation:
    """Collects what is wrong, so that all of it is reported together."""

    def __init__(self, source: Source, registry: Registry) -> None:
        self.problems: list[str] = []
        self._source = source
        self._registry = registry

    def find(self, lookup: Callable[[str], S], name: str, *keys: str | int) -> S | None:
        try:
            return lookup(name)
        except RequestError as error:
            self._wrong(str(error), *keys)
            return None

    def find_all(self, lookup: Callable[[str], Spec], options: Mapping[str, Any], *keys: str | int) -> None:
        for name in options:
            self.find(lookup, name, *keys, name)

    def chosen_options(self, spec: Spec | None, options: Mapping[str, Any], *keys: str | int) -> dict[str, Any]:
        return {spec.name: self.options(spec, options.get(spec.name, {}), *keys, spec.name)} if spec else {}

    def options(self, spec: Spec, raw: Mapping[str, Any], *keys: str | int) -> dict[str, Any]:
        """The options with every default; empty if they are not valid."""
        try:
            valid: Options | list[str] = validate(spec.options, raw, self._source, keys)
            if isinstance(valid, Options):
                self._parameter_names(valid.model_dump(mode="json"), *keys)
                return valid.model_dump()
        except Exception as error:  # noqa: BLE001  # a plugin's own validator may raise anything
            self._wrong(f"the options of `{spec.name}` cannot be checked: {describe_error(error)}.", *keys)
        else:
            self.problems += valid
        return {}

    def _parameter_names(self, options: Mapping[str, Any], *keys: str | int) -> None:
        """Check keys that the plugin leaves open, for every option becomes a parameter of the run."""
        for key, value in options.items():
            try:
                check_name(".".join(map(str, (*keys, key))))
            except ValueError as error:
                self._wrong(str(error), *keys, key)
            else:
                if isinstance(value, Mapping):
                    self._parameter_names(value, *keys, key)

    def length(self, task: TaskSpec | None, length: int | None) -> int | None:
        if task is None:
            return length
        if length is not None and length not in task.lengths:
            self._wrong(f"task `{task.name}` cannot have {length} steps; allowed: {task.lengths}", "task", "length")
        return task.lengths.default if length is None else length

    def other_lengths(self, task: TaskSpec | None, lengths: Sequence[int]) -> None:
        for index, length in enumerate(lengths):
            if task is not None and length not in task.lengths:
                problem = f"task `{task.name}` cannot have {length} steps; allowed: {task.lengths}"
                self._wrong(problem, "evaluate", "lengths", index)

    def metrics(self, task: TaskSpec | None, config: ExperimentConfig) -> None:
        if task is None:
            return
        known = ["val/loss", *(f"val/{name}" for name in task.metrics)]
        stopping = config.train.early_stopping
        named = {
            "early_stopping": stopping.metric if stopping else "val/loss",
            "checkpoint": config.train.checkpoint.metric,
        }
        for section, metric in named.items():
            if metric.startswith("test/"):
                meant = did_you_mean(metric.replace("test", "val", 1), known)
                self._wrong(f"{shown(metric)} {ONLY_AT_THE_END}.{meant}", "train", section, "metric")
            elif metric not in known:
                problem = f"task `{task.name}` has no metric {shown(metric)}.{did_you_mean(metric, known)}"
                self._wrong(problem, "train", section, "metric")

    def bidirectional(self, task: TaskSpec | None, config: ExperimentConfig) -> None:
        """Refuse what a network that runs backwards too cannot do: it must have read all steps before it answers."""
        if not config.cell.bidirectional:
            return
        if task is not None and task.shape != "many-to-one":
            why = {
                "one-to-one": "has one step, which has no direction",
                "aligned": "answers at every step, and a cell that runs backwards would have read what comes next",
            }.get(task.shape, "writes its answer step by step, and nothing can run backwards from steps to come")
            problem = f"task `{task.name}` is {task.shape}: it {why}: leave out `cell.bidirectional`"
            self._wrong(problem, "cell", "bidirectional")
        remedy = "leave out this key or `cell.bidirectional`"
        if config.train.truncate is not None:
            problem = (
                "the gradient is cut at steps that are counted back from the last, and a cell that runs backwards "
                f"begins there: {remedy}"
            )
            self._wrong(problem, "train", "truncate")
        if config.optim.omega:
            self._wrong(f"Ω is defined for states that pass forwards in time: {remedy}", "optim", "omega")

    def optimizer_keys(self, optim: OptimConfig) -> None:
        """Refuse a key that the chosen optimiser would ignore: of those of plugins, only the own options count."""
        if optim.name in OPTIMIZERS:
            return
        for key, names in KEYS.items():
            if getattr(optim, key) != OptimConfig.model_fields[key].default:
                problem = f"this key is for {' and '.join(names)}; `{optim.name}` has options of its own"
                self._wrong(f"{problem}: `undertow list optimizers {optim.name}`", "optim", key)

    def listed(self, lookup: Callable[[str], Spec], section: str, entries: Sequence[L], index: int) -> L:
        """An entry of `probes` or `callbacks` with all options of its plugin."""
        entry = entries[index]
        if any(other.name == entry.name for other in entries[:index]):
            self._wrong(f"the {section[:-1]} `{entry.name}` is here twice; keep one.", section, index, "name")
            return entry
        before = len(self.problems)
        spec = self.find(lookup, entry.name, section, index, "name")
        if spec is None:
            if section not in self._source.data:
                self.problems[before] += f" It is there by default; write `{section}: []` for no {section}."
            return entry
        return entry.model_copy(update={"options": self.options(spec, entry.options, section, index, "options")})

    def _wrong(self, problem: str, *keys: str | int) -> None:
        self.problems.append(f"{self._source.place(*keys)}: {'.'.join(map(str, keys))}: {problem}")

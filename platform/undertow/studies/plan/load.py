"""Load a study's configuration: one experiment and what is varied and searched in it, with every combination checked.

    loaded = load_study("experiments/vanishing/digits.yaml", overrides=["train.max_steps=100"])
    for combination in loaded.space.combinations():
        config = loaded.experiment(combination.params)       # resolved, ready to run

Nothing is written, and neither torch nor Optuna is imported. A study loads its plugins in strict mode: a broken plugin
is an error, so that no cell is silently missing from a comparison.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from undertow._system.redact import redacted
from undertow.config.load import (
    default_at,
    host_checked,
    load_permitted,
    origins,
    with_start_file,
    without_password,
)
from undertow.config.resolve import ONLY_AT_THE_END, resolve, validate
from undertow.config.schema import ExperimentConfig
from undertow.config.source import Place, Source, read_file, read_mapping, shown
from undertow.config.space import NAMED, Params, Range, Space, Value, frozen, frozen_settings, written
from undertow.config.study_schema import LONGEST_NAME, STUDY_NAME, SearchConfig, StudyConfig
from undertow.config.yaml12 import write
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.imports import is_import_path
from undertow.plugins.registry import Registry
from undertow.studies.plan.packs import refused_packs
from undertow.studies.plan.sampling import PRUNERS, SAMPLERS

_IN_EVERY_NAME = ("cell.name", "task.length", "seed")


@dataclass(frozen=True)
class LoadedStudy:
    """A study that is ready to run.

    Attributes:
        name: Unique among the studies of one database.
        file: The file it was read from; empty for a mapping.
        config: Its `study` section.
        space: What is varied and searched.
        registry: The plugins it was checked against.
        files: Scratch plugins that its runs load.
    """

    name: str
    file: str
    config: StudyConfig
    space: Space
    registry: Registry
    files: tuple[Path, ...]
    _source: Source

    def experiment(self, params: Params) -> ExperimentConfig:
        """The resolved configuration of one run.

        Args:
            params: Values by dotted key; they replace those of the file.

        Raises:
            RequestError: These values are not allowed.
        """
        source = Source(copy.deepcopy(self._source.data), dict(self._source.places))
        for key, value in self.settings(params).items():
            source.assign(key.split("."), written(value), _place(self.config, self._source, key, value), default_at)
        found = host_checked(source)
        plugins = found.plugins.model_copy(update={"files": list(self.files), "strict": True})
        found = with_start_file(found.model_copy(update={"plugins": plugins}), source, Path(self.file).parent)
        config = resolve(found, source, self.registry)
        track = config.track.model_copy(
            update={
                "run_name": config.run_name + _suffix(params),
                "experiment": self.name if config.track.experiment == "default" else config.track.experiment,
            }
        )
        return config.model_copy(update={"track": track})

    def settings(self, params: Params) -> dict[str, Value]:
        """These values, with the settings of their case in place of its name."""
        case = self.space.cases.get(str(params.get("case")), {})
        return {**case, **{key: value for key, value in params.items() if key != "case"}}

    def place(self, key: str, params: Params = MappingProxyType({})) -> Place:
        """Where the value of a key was written: for the combination with these values, or for the whole study."""
        settings = self.settings(params)
        if key in settings:
            return _place(self.config, self._source, key, settings[key])
        return self._source.place(*key.split("."))

    def source_data(self) -> dict[str, Any]:
        """What was written, overrides included, without the `study` section."""
        return copy.deepcopy(self._source.data)

    @cached_property
    def first(self) -> ExperimentConfig:
        """The configuration of the first combination: the shared values, and one value of each key that differs."""
        return self.experiment(first_point(self.space))

    def origins(self) -> dict[str, str]:
        """By dotted key, where each value came from; a key that differs between runs has `(vary)` or `(search)`."""
        found = origins(self.first, self._source)
        for section, values in (("vary", self.config.vary), ("search", self.config.search)):
            found |= {key: f"{self._source.place('study', section, key).origin} ({section})" for key in values}
        return found

    def yaml(self, at: Params | None = None) -> str:
        """The study as YAML that loads back to an equal one, except for passwords: it is stored and shown.

        Args:
            at: The values of what differs between runs; those of the first combination when None.
        """
        config = self.first if at is None else self.experiment(at)
        shared = without_password(config).model_dump(mode="json", exclude={"study"})
        shared["track"]["run_name"] = None
        study = self.config.model_dump(mode="json") | {"name": self.name}
        if self.config.storage:
            study["storage"] = redacted(self.config.storage)
        return write({**shared, "study": study})


def is_study(path: str | Path) -> bool:
    """Whether a file describes a study; False if it cannot be read."""
    try:
        return read_file(Path(path)).data.get("study") is not None
    except RequestError:
        return False


def load_study(path: str | Path, overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()) -> LoadedStudy:
    """Load a YAML file with a `study` section, and check every combination.

    Args:
        path: The file.
        overrides: ``KEY=VALUE``; ``study.retries=2`` as well as ``train.max_steps=100``.
        plugin_files: Scratch plugins in addition to those of the file, relative to the working folder.

    Raises:
        RequestError: The request is wrong; a line for each mistake.
    """
    path = Path(path)
    default_name = f"{path.resolve().parent.name}-{path.stem}"
    return _load(read_file(path), path.parent, overrides, plugin_files, default_name, str(path))


def load_study_mapping(
    mapping: Mapping[str, Any], overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()
) -> LoadedStudy:
    """Load a study from a Python mapping, which must have `study.name`; the rest as for `load_study`.

    Raises:
        RequestError: The request is wrong; a line for each mistake.
    """
    return _load(read_mapping(mapping), Path(), overrides, plugin_files, None, "")


def _load(
    source: Source,
    folder: Path,
    overrides: Iterable[str],
    plugin_files: Iterable[str | Path],
    default_name: str | None,
    file: str,
) -> LoadedStudy:
    for text in overrides:
        source.override(text, default_at)
    if source.data.get("study") is None:
        raise RequestError(
            f"{source.place().source}: study: this section is missing, so this is a single run: undertow run {file}\n"
            "A study has a section such as `study: {vary: {cell.name: [rnn, lstm]}, seeds: 3}`."
        )
    study = _study_section(source)
    name = study.name or default_name
    if name is None:
        raise RequestError(f"{source.place('study')}: study.name: required for a mapping, which has no file name")
    if not re.fullmatch(STUDY_NAME, name) or len(name) > LONGEST_NAME:  # `study.name` is validated with its section
        raise RequestError(_wrong_default_name(name, file))
    experiment = Source({key: value for key, value in source.data.items() if key != "study"}, source.places)
    space = _space(study, experiment.data)
    start = Source(copy.deepcopy(experiment.data), dict(experiment.places))
    first = first_point(space)
    for key, value in {**space.cases.get(str(first.pop("case", "")), {}), **first}.items():
        start.assign(key.split("."), written(value), _place(study, source, key, value), default_at)
    permitted, registry = load_permitted(host_checked(start), start, folder, plugin_files)
    registry.require_all_loaded()
    loaded = LoadedStudy(name, file, study, space, registry, tuple(permitted.plugins.files), experiment)
    problems = [*_unknown_names(study, source), *_wrong_known_settings(loaded, source), *_wrong_combinations(loaded)]
    if problems := problems or [*_unknown_metrics(loaded, source), *refused_packs(loaded)]:
        raise RequestError("\n".join(dict.fromkeys(problems)))
    return loaded


def _wrong_default_name(name: str, file: str) -> str:
    allowed = re.sub(r"[^\w.\- ]+", "-", name).strip("-")[:LONGEST_NAME] or "study"
    return (
        f"{file}: study.name: without one, folder and file name are the name of the study, and {shown(name)} cannot be "
        f"one: letters, digits, `.`, `_`, `-` and blanks only, {LONGEST_NAME} at most. "
        f"Name it, in the file or by --set 'study.name={allowed}'"
    )


def _study_section(source: Source) -> StudyConfig:
    """The section, with `vary.seed` in the place of `seeds`: from here on there is only that."""
    found = validate(StudyConfig, source.data["study"], source, ("study",))
    if isinstance(found, list):
        raise RequestError("\n".join(found))
    if found.seeds is None:
        return found
    source.places["study", "vary", "seed"] = source.place("study", "seeds")
    return found.model_copy(update={"vary": {**found.vary, "seed": list(range(found.seeds))}, "seeds": None})


def _space(study: StudyConfig, data: Mapping[str, Any]) -> Space:
    named = {section: data.get(section) or {} for section in NAMED}
    base = {f"{section}.name": part["name"] for section, part in named.items() if "name" in part}
    return Space(
        vary={
            **({"case": tuple(study.cases)} if study.cases else {}),
            **{key: tuple(map(frozen, values)) for key, values in study.vary.items()},
        },
        cases={name: frozen_settings(settings) for name, settings in study.cases.items()},
        search={key: _range(each) for key, each in study.search.items()},
        samples=study.samples or 1,
        base={key: value for key, value in base.items() if key not in study.vary and key not in study.search},
    )


def _place(study: StudyConfig, source: Source, key: str, value: Value) -> Place:
    """Where a value of a combination was written."""
    for name, settings in study.cases.items():
        if key in settings and frozen(settings[key]) == value:
            return source.place("study", "cases", name, key)
    values = [frozen(each) for each in study.vary.get(key, [])]
    index = (values.index(value),) if value in values else ()
    return source.place("study", "search" if key in study.search else "vary", key, *index)


def _range(config: SearchConfig) -> Range:
    return Range(
        config.low, config.high, config.log, config.step, tuple(config.choices or ()), frozen_settings(config.when)
    )


def _lowest(each: Range) -> Value:
    return each.choices[0] if each.choices else each.low


def _highest(each: Range) -> Value:
    if each.choices:
        return each.choices[-1]
    if isinstance(each.low, int) and isinstance(each.high, int) and isinstance(each.step, int):
        return each.high - (each.high - each.low) % each.step  # Optuna samples no value beyond
    return each.high


def first_point(space: Space) -> dict[str, Value]:
    """The first point of the grid, with the lowest value or the first choice of every key that is searched there."""
    return _searched(space, next(space.points()), {}, _lowest)


def _searched(space: Space, point: Params, fixed: Params, choose: Callable[[Range], Value]) -> dict[str, Value]:
    """A point of the grid with a value for every key that is searched there: a fixed one, or a chosen one."""
    params = dict(point)
    while searched := space.searched_at(params):
        params |= {key: fixed[key] if key in fixed else choose(each) for key, each in searched.items()}
    return params


def _corners(space: Space, point: Params) -> Iterator[dict[str, Value]]:
    """Combinations at one point of the grid: each end and choice of each searched key, the others at either end."""
    yield _searched(space, point, {}, _lowest)
    for key, each in space.search.items():
        ends = each.choices or (_lowest(each), _highest(each))
        for value, choose in product(ends, (_lowest, _highest)):
            params = _searched(space, point, {**_condition(space, key), key: value}, choose)
            if key in params:
                yield params


def _condition(space: Space, key: str) -> dict[str, Value]:
    """The values of other searched keys at which a key matters."""
    needed: dict[str, Value] = {}
    pending = [key]
    while pending:
        current = pending.pop()
        conditions = dict(space.search[current].when)
        section, _, option = current.partition(".options.")
        if option and section in NAMED:
            conditions[f"{section}.name"] = option.partition(".")[0]
        new = {other: value for other, value in conditions.items() if other in space.search and other not in needed}
        needed |= new
        pending += new
    return needed


def _wrong_combinations(loaded: LoadedStudy) -> list[str]:
    """The mistakes of all combinations: the corners of the search at every point with the first seed, and all seeds."""
    space = loaded.space
    first_seed, *more_seeds = space.vary.get("seed", (None,))
    tried = [
        params
        for point in space.points()
        if point.get("seed", first_seed) == first_seed
        for params in _corners(space, point)
    ]
    tried += [first_point(space) | {"seed": seed} for seed in more_seeds]
    problems: list[str] = []
    for params in {json.dumps(each, sort_keys=True): each for each in tried}.values():
        try:
            loaded.experiment(params)
        except RequestError as error:
            problems += str(error).splitlines()
    return problems


def _unknown_names(study: StudyConfig, source: Source) -> list[str]:
    problems = []
    for section, name, known in (
        ("sampler", study.sampler.name, SAMPLERS),
        ("pruner", study.pruner.name, PRUNERS),
    ):
        if name not in known and not is_import_path(name):
            more = " For a grid, use `vary`." if name == "grid" else ""
            problems.append(
                f"{source.place('study', section, 'name')}: study.{section}.name: there is no {section} {shown(name)}."
                f"{did_you_mean(name, known)}{more}"
            )
    problems += [
        f"{source.place('study', 'search', key, 'when', other)}: study.search.{key}.when: `{other}` is neither varied "
        f"nor searched.{did_you_mean(other, [*study.vary, *study.search])}"
        for key, each in study.search.items()
        for other in each.when
        if other not in study.vary and other not in study.search
    ]
    return problems


def _wrong_known_settings(loaded: LoadedStudy, source: Source) -> list[str]:
    """What is wrong with `enqueue`: keys that are not searched, values that the search cannot take."""
    problems = []
    search = loaded.space.search
    for index, settings in enumerate(loaded.config.enqueue):
        for key, value in settings.items():
            start = f"{source.place('study', 'enqueue', index, key)}: study.enqueue.{index}.{key}: "
            if key not in search:
                problems.append(f"{start}this key is not searched.{did_you_mean(key, search)}")
            elif not search[key].has(frozen(value)):
                problems.append(f"{start}the search of `{key}` does not take {shown(value)}: {search[key]}")
    return problems


def _unknown_metrics(loaded: LoadedStudy, source: Source) -> list[str]:
    """Objectives that no run can record. The metrics of training and validation are known; those of probes are not."""
    points = loaded.space.points()
    tasks = {str(name) for point in points if (name := loaded.space.chosen(point).get("task.name")) is not None}
    problems = []
    for task in sorted(tasks & loaded.registry.tasks.keys()):
        metrics = loaded.registry.task(task).metrics
        known = ["train/loss", "train/steps", "val/loss", *(f"val/{name}" for name in metrics)]
        for index, objective in enumerate(loaded.config.objectives):
            if objective.metric.startswith("test/"):
                problems.append(
                    f"{source.place('study', 'objectives', index, 'metric')}: study.objectives.{index}.metric: "
                    f"{shown(objective.metric)} {ONLY_AT_THE_END}."
                    f"{did_you_mean(objective.metric.replace('test', 'val', 1), known)}"
                )
            elif objective.metric.startswith(("train/", "val/")) and objective.metric not in known:
                problems.append(
                    f"{source.place('study', 'objectives', index, 'metric')}: study.objectives.{index}.metric: task "
                    f"`{task}` has no metric {shown(objective.metric)}.{did_you_mean(objective.metric, known)}"
                )
    return problems


def _suffix(params: Params) -> str:
    """The end of a run's name: the last part of each key except cell, length and seed, and its value."""
    factors = {key.rsplit(".", 1)[-1]: value for key, value in params.items() if key not in _IN_EVERY_NAME}
    return "".join(
        f"-{_in_a_name(value)}" if name == "case" else f"-{name}={_in_a_name(value)}" for name, value in factors.items()
    )


def _in_a_name(value: Value) -> str:
    if isinstance(value, tuple):
        return ",".join(f"[{_in_a_name(each)}]" if isinstance(each, tuple) else _in_a_name(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)

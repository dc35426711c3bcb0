"""Read a study's configuration: one experiment, what is varied and searched in it, every combination checked.

    loaded = load_study("experiments/vanishing/digits.yaml", overrides=["train.max_steps=100"])
    for combination in loaded.space.combinations():
        config = loaded.experiment(combination.params)       # resolved, ready to run

Nothing is written and neither torch nor Optuna is imported. A study loads its plugins strictly: a broken one must not
quietly take a cell out of a comparison.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from undertow._system.redact import redacted
from undertow.config.load import default_at, host_checked, load_permitted, origins, without_password
from undertow.config.resolve import resolve, validate
from undertow.config.schema import ExperimentConfig
from undertow.config.source import Place, Source, read_file, read_mapping, shown
from undertow.config.space import Params, Range, Scalar, Space
from undertow.config.study_schema import SearchConfig, StudyConfig
from undertow.config.yaml12 import write
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.registry import Registry
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
    """

    name: str
    file: str
    config: StudyConfig
    space: Space
    registry: Registry
    _source: Source
    _files: tuple[Path, ...]

    def experiment(self, params: Params, run_name: str | None = None) -> ExperimentConfig:
        """The resolved configuration of one run.

        Args:
            params: Values by dotted key, in the place of those written in the file.
            run_name: Its name in MLflow; made from its factors when None.

        Raises:
            RequestError: These values are not allowed.
        """
        source = Source(copy.deepcopy(self._source.data), dict(self._source.places))
        for key, value in self.settings(params).items():
            source.assign(key.split("."), value, _place(self.config, self._source, key, value), default_at)
        found = host_checked(source)
        plugins = found.plugins.model_copy(update={"files": list(self._files), "strict": True})
        config = resolve(found.model_copy(update={"plugins": plugins}), source, self.registry)
        track = config.track.model_copy(
            update={
                "run_name": run_name or config.run_name + _suffix(params),
                "experiment": self.name if config.track.experiment == "default" else config.track.experiment,
            }
        )
        return config.model_copy(update={"track": track})

    def settings(self, params: Params) -> dict[str, Scalar]:
        """These values, with those that their case stands for in its place."""
        case = self.config.cases.get(str(params.get("case")), {})
        return {**case, **{key: value for key, value in params.items() if key != "case"}}

    @cached_property
    def first(self) -> ExperimentConfig:
        """The configuration of the first combination: what all of them share, and one value of what they do not."""
        return self.experiment(_first(self.space))

    def origins(self) -> dict[str, str]:
        """By dotted key, where each value that the runs share came from; what differs says how."""
        found = origins(self.first, self._source)
        for section, values in (("vary", self.config.vary), ("search", self.config.search)):
            found |= {key: f"{self._source.place('study', section, key).origin} ({section})" for key in values}
        return found

    def yaml(self) -> str:
        """The whole study as YAML that loads back to an equal one, but for passwords: it is stored and shown."""
        shared = without_password(self.first).model_dump(mode="json", exclude={"study"})
        shared["track"]["run_name"] = None
        study = self.config.model_dump(mode="json") | {"name": self.name}
        if self.config.storage:
            study["storage"] = redacted(self.config.storage)
        return write({**shared, "study": study})


def is_study(path: str | Path) -> bool:
    """Whether a file describes a study; one that cannot be read does not."""
    try:
        return read_file(Path(path)).data.get("study") is not None
    except RequestError:
        return False


def load_study(path: str | Path, overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()) -> LoadedStudy:
    """Read a YAML file with a `study` section, and check every combination.

    Args:
        path: The file.
        overrides: ``KEY=VALUE``; ``study.retries=2`` as well as ``train.max_steps=100``.
        plugin_files: Scratch plugins beside those of the file, relative to the working folder.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
    """
    path = Path(path)
    resolved = path.resolve()
    return _load(
        read_file(path), path.parent, overrides, plugin_files, f"{resolved.parent.name}-{path.stem}", str(path)
    )


def load_study_mapping(
    mapping: Mapping[str, Any], overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()
) -> LoadedStudy:
    """Do what `load_study` does, for a Python mapping in the place of a file; it has to name the study.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
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
            f"{source.place().source}: study: there is none here, so this is a single run: undertow run {file}\n"
            "A study says what to vary, such as `study: {vary: {cell.name: [rnn, lstm], seed: [0, 1, 2]}}`."
        )
    study = _study_section(source)
    name = study.name or default_name
    if name is None:
        raise RequestError(f"{source.place('study')}: study.name: required for a mapping, which has no file name")
    experiment = Source({key: value for key, value in source.data.items() if key != "study"}, source.places)
    space = _space(study, experiment.data)
    start = Source(copy.deepcopy(experiment.data), dict(experiment.places))
    first = _first(space)
    for key, value in {**space.cases.get(str(first.pop("case", "")), {}), **first}.items():
        start.assign(key.split("."), value, _place(study, source, key, value), default_at)
    permitted, registry = load_permitted(host_checked(start), start, folder, plugin_files)
    registry.require_all_loaded()
    loaded = LoadedStudy(name, file, study, space, registry, experiment, tuple(permitted.plugins.files))
    problems = [*_unknown_names(study, source), *_wrong_combinations(loaded)]
    if problems := problems or _unknown_metrics(loaded, source):
        raise RequestError("\n".join(dict.fromkeys(problems)))
    return loaded


def _study_section(source: Source) -> StudyConfig:
    found = validate(StudyConfig, source.data["study"], source, ("study",))
    if isinstance(found, list):
        raise RequestError("\n".join(found))
    return found


def _space(study: StudyConfig, data: Mapping[str, Any]) -> Space:
    named = {section: data.get(section) or {} for section in ("cell", "task")}
    base = {f"{section}.name": part["name"] for section, part in named.items() if "name" in part}
    return Space(
        vary={
            **({"case": tuple(study.cases)} if study.cases else {}),
            **{key: tuple(values) for key, values in study.vary.items()},
        },
        cases=study.cases,
        search={key: _range(each) for key, each in study.search.items()},
        samples=study.samples or 1,
        base={key: value for key, value in base.items() if key not in study.vary and key not in study.search},
    )


def _place(study: StudyConfig, source: Source, key: str, value: Scalar) -> Place:
    """Where a value that a combination has was written."""
    for name, settings in study.cases.items():
        if key in settings and settings[key] == value:
            return source.place("study", "cases", name, key)
    values = study.vary.get(key, [])
    index = (values.index(value),) if value in values else ()
    return source.place("study", "search" if key in study.search else "vary", key, *index)


def _range(config: SearchConfig) -> Range:
    return Range(config.low, config.high, config.log, config.step, tuple(config.choices or ()), config.when)


def _first(space: Space) -> dict[str, Scalar]:
    """The first point of the grid with the lowest value or first choice of all that is searched there."""
    params = dict(next(space.points()))
    while searched := space.searched_at(params):
        key, each = next(iter(searched.items()))
        params[key] = each.choices[0] if each.choices else each.low
    return params


def _wrong_combinations(loaded: LoadedStudy) -> list[str]:
    """What is wrong with any combination: every point with one seed, every seed, and every end of what is searched."""
    first_seed = loaded.space.vary.get("seed", (None,))[0]
    first = _first(loaded.space)
    tried: list[Params] = [first | p for p in loaded.space.points() if p.get("seed", first_seed) == first_seed]
    tried += [first | {"seed": seed} for seed in loaded.space.vary.get("seed", ())[1:]]
    for key, each in loaded.space.search.items():
        tried += [first | {key: value} for value in (*each.choices, each.low, each.high) if value is not None]
    problems: list[str] = []
    for params in tried:
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
        if name not in known:
            more = " A grid is what `vary` is for." if name == "grid" else ""
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


def _unknown_metrics(loaded: LoadedStudy, source: Source) -> list[str]:
    """Objectives that no run can record: what is validated is known, what probes measure has their first word."""
    points = loaded.space.points()
    tasks = {str(name) for point in points if (name := loaded.space.chosen(point).get("task.name")) is not None}
    problems = []
    for task in sorted(tasks & loaded.registry.tasks.keys()):
        metrics = loaded.registry.task(task).metrics
        known = ["train/loss", "train/steps", "val/loss", *(f"val/{name}" for name in metrics)]
        for index, objective in enumerate(loaded.config.objectives):
            if objective.metric.startswith(("train/", "val/")) and objective.metric not in known:
                problems.append(
                    f"{source.place('study', 'objectives', index, 'metric')}: study.objectives.{index}.metric: task "
                    f"`{task}` has no metric {shown(objective.metric)}.{did_you_mean(objective.metric, known)}"
                )
    return problems


def _suffix(params: Params) -> str:
    """What a run's name says beside cell, length and seed: the last word of each further key, and its value."""
    words = {key.rsplit(".", 1)[-1]: value for key, value in params.items() if key not in _IN_EVERY_NAME}
    return "".join(
        f"-{value}" if word == "case" else f"-{word}={value:.4g}" if isinstance(value, float) else f"-{word}={value}"
        for word, value in words.items()
    )

"""The snapshot of a study in Optuna's database: its question, configuration, space and code. Another study is refused.

    snapshot = stored_snapshot(study)             # None if it is not one of Undertow's
    updated = updated_snapshot(snapshot, loaded)  # raises if the configuration differs in what decides the results
    space = space_of(updated)

A study can grow and shrink: the values of a key in `vary`, and the `cases`, may be others than before. The snapshot
also keeps all that the study has ever had (`known`). So a value that was removed and comes back is the same value, and
its trials count again; a case that comes back must have the same settings.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from undertow.config.space import (
    Params,
    Range,
    Scalar,
    Space,
    Value,
    choice_of,
    frozen,
    frozen_settings,
    identity,
    text_of,
    written,
)
from undertow.config.yaml12 import parse, write
from undertow.errors import RequestError
from undertow.plugins.frozen import changed_code, require_same_code
from undertow.studies.plan.load import LoadedStudy, first_point
from undertow.studies.plan.packs import Reasons
from undertow.studies.store.storage import with_retries

if TYPE_CHECKING:
    from optuna import Study

SNAPSHOT = "undertow"
"""The attribute of a study that holds the snapshot."""

_SNAPSHOT_SECONDS = 3.0  # that the creator of a study has to write its snapshot
_NOT_COMPARED = (
    "workers", "gpus_per_trial", "memory_per_trial", "retries", "samples", "trial_timeout", "time_budget", "storage",
    "enqueue",  # settings that are known first: what was sampled before stays
    "pack", "seeds",  # `seeds` is in `vary` by then; studies of earlier versions have neither
    "trials",  # what earlier versions called `samples`
)  # fmt: skip


def wait_for_snapshot(study: "Study") -> None:
    """Wait a moment until the creator of a study has written its snapshot: two snapshots would make two parent runs."""
    deadline = time.monotonic() + _SNAPSHOT_SECONDS
    while stored_snapshot(study) is None and time.monotonic() < deadline:
        time.sleep(0.05)


def stored_snapshot(study: "Study") -> dict[str, Any] | None:
    """The snapshot of a study; None if there is none."""
    stored: dict[str, Any] | None = with_retries(lambda: study.user_attrs).get(SNAPSHOT)
    return stored


def make_snapshot(loaded: LoadedStudy, stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of a snapshot that follows from the configuration.

    Args:
        loaded: The study.
        stored: The snapshot until now: a value that is in it is kept as it is there (1, although 1.0 was written).
    """
    vary, cases = _known(stored) if stored else ({}, {})
    space = _with_values_of(loaded.space, vary)
    known = {key: _joined(vary.get(key, ()), values) for key, values in space.vary.items()}
    snapshot = {
        "file": loaded.file,
        "question": loaded.first.question,
        "config": loaded.yaml(),
        "vary": _written(space.vary),
        "search": {key: asdict(each) for key, each in space.search.items()},
        "cases": {name: _written(settings) for name, settings in space.cases.items()},
        "known": {
            "vary": _written(known),
            "cases": {name: _written(settings) for name, settings in {**cases, **space.cases}.items()},
        },
        "samples": space.samples,
        "singly": Reasons(loaded).counted,
        "retries": loaded.config.retries,
        "base": dict(space.base),
        "objectives": [each.model_dump() for each in loaded.config.objectives],
    }
    as_read: dict[str, Any] = json.loads(json.dumps(snapshot))
    return as_read


def updated_snapshot(stored: Mapping[str, Any], loaded: LoadedStudy, *, allow_changed_code: bool) -> dict[str, Any]:
    """The snapshot of a study that is continued.

    Args:
        stored: The snapshot as it is. One that an earlier version wrote has no `versions`; it takes those of now.
        loaded: The study.
        allow_changed_code: Continue with other plugins than those of the snapshot, and record each change.

    Raises:
        RequestError: The configuration or the code is another one.
    """
    space = space_of(stored)
    start = first_point(space)
    case = space.cases.get(str(start.pop("case", "")), {})
    _, cases = _known(stored)
    require_same_study(loaded.name, stored["config"], loaded.yaml({**case, **start}), cases)
    now = loaded.registry.versions()
    recorded = stored.get("versions", now)
    if not allow_changed_code:
        require_same_code(recorded, now, f"the study {loaded.name}")
    changes = changed_code(recorded, now)
    code = {"versions": now, "changed_code": [*stored.get("changed_code", []), *changes]} if changes else {}
    return {"versions": recorded, **stored, **make_snapshot(loaded, stored), **code}


def space_of(snapshot: Mapping[str, Any]) -> Space:
    """The space of a study, from its snapshot."""
    search = snapshot["search"].items()
    return Space(
        vary=frozen_values(snapshot["vary"]),
        search={
            key: Range(**{**each, "choices": tuple(each["choices"]), "when": frozen_settings(each["when"])})
            for key, each in search
        },
        samples=snapshot["samples"],
        base=snapshot["base"],
        cases=_cases(snapshot["cases"]),
    )


def choices_of(snapshot: Mapping[str, Any]) -> dict[str, list[Scalar]]:
    """The choices of each varied key in Optuna: all values that the study has ever had, in this order."""
    vary, _ = _known(snapshot)
    return {key: [choice_of(value) for value in values] for key, values in vary.items()}


def values_of(snapshot: Mapping[str, Any]) -> object:
    """What all drivers of a study must agree on: its values and cases, in any order, and the choices in Optuna."""
    space = space_of(snapshot)
    return {key: frozenset(values) for key, values in space.vary.items()}, space.cases, choices_of(snapshot)


def changed_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which values a study has gained and lost, for the user; empty if it has the same values."""
    one, other = space_of(before).vary, space_of(after).vary
    parts = {"added": (other, one), "removed": (one, other)}
    found = {
        what: [f"{key}={text_of(value)}" for key in these for value in these[key] if value not in those[key]]
        for what, (these, those) in parts.items()
    }
    return ", ".join(f"{what} {' '.join(values)}" for what, values in found.items() if values)


def frozen_values(values: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """Lists of values by key, as they are in a `Space`."""
    return {key: tuple(map(frozen, each)) for key, each in values.items()}


def require_same_study(name: str, stored: str, configured: str, cases: Mapping[str, Params] | None = None) -> None:
    """Raise if the configurations differ in what decides the results.

    The question, slots, time limits, the values of the varied keys and the names of cases may change. A study of a
    version without test scores is not continued: its measures of the gradient have today's names and other definitions.

    Args:
        name: The study's name.
        stored: The configuration of the study.
        configured: The one to continue it with, with the same values as `stored` for what differs between runs.
        cases: All cases that the study has ever had.
    """
    before, now = _compared(stored), _compared(configured)
    _leave_out_values(before["study"], now["study"], {name: _written(each) for name, each in (cases or {}).items()})
    if before == now:
        return
    if "test" in now.get("evaluate", {}) and "test" not in before.get("evaluate", {}):
        raise RequestError(
            f"the study `{name}` was recorded by an earlier version, without test scores (evaluate.test) and with "
            f"other measures of the gradient: `undertow study report {name}` shows it, but it cannot be continued. "
            "To run it again, give it another name: --set study.name=…"
        )
    texts = write(before).splitlines(), write(now).splitlines()
    diff = list(unified_diff(*texts, "the existing study", "this configuration", lineterm="", n=1))
    raise RequestError(
        f"there is a study `{name}` already, with another configuration:\n"
        + "\n".join(f"  {line}" for line in diff if not line.startswith("@@"))
        + "\nContinue it with its own configuration, or give this one another name: --set study.name=…"
    )


def _compared(yaml: str) -> dict[str, Any]:
    data, _ = parse(yaml)
    data["study"] = {key: value for key, value in data["study"].items() if key not in _NOT_COMPARED}
    for key in ("question", "track", "plugins"):
        data.pop(key, None)
    compared: dict[str, Any] = data
    return compared


def _leave_out_values(before: dict[str, Any], now: dict[str, Any], known: Mapping[str, Any]) -> None:
    """Leave out of both `study` sections what may change: values of keys that both vary, cases that one of them has."""
    if (before.get("vary") or {}).keys() == (now.get("vary") or {}).keys():
        before.pop("vary", None)
        now.pop("vary", None)
    if before.get("cases") and now.get("cases"):
        before["cases"] = {**known, **before["cases"]}
        both = [name for name in before["cases"] if name in now["cases"]]
        for study in (before, now):
            study["cases"] = {name: study["cases"][name] for name in both}


def _known(snapshot: Mapping[str, Any]) -> tuple[dict[str, tuple[Value, ...]], dict[str, dict[str, Value]]]:
    """All values and all cases that a study has ever had; one of an earlier version has had no others than now."""
    known = snapshot.get("known", snapshot)
    return frozen_values(known["vary"]), _cases(known["cases"])


def _cases(cases: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    return {name: frozen_settings(settings) for name, settings in cases.items()}


def _with_values_of(space: Space, known: Mapping[str, tuple[Value, ...]]) -> Space:
    """The space with the known values in the place of equal ones: 1 for 1.0, which would be another key."""
    same = {key: {identity(value): value for value in values} for key, values in known.items()}
    vary = {
        key: tuple(same.get(key, {}).get(identity(value), value) for value in values)
        for key, values in space.vary.items()
    }
    return replace(space, vary=vary)


def _joined(known: tuple[Value, ...], values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The known values, and those that are new."""
    seen = set(map(identity, known))
    return (*known, *(value for value in values if identity(value) not in seen))


def _written(values: Mapping[str, Value]) -> dict[str, Any]:
    return {key: written(value) for key, value in values.items()}

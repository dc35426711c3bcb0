"""The snapshot of a study in Optuna's database: its question, configuration, space and code. Another study is refused.

snapshot = stored_snapshot(study)             # None if it is not one of Undertow's
require_same_study(name, snapshot["config"], loaded.yaml())
space = space_of(snapshot)
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from undertow.config.space import Range, Space
from undertow.config.yaml12 import parse, write
from undertow.errors import RequestError
from undertow.plugins.frozen import changed_code, require_same_code
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.storage import with_retries

if TYPE_CHECKING:
    from optuna import Study

SNAPSHOT = "undertow"
"""The attribute of a study that holds the snapshot."""

_SNAPSHOT_SECONDS = 3.0  # that the creator of a study has to write its snapshot
_NOT_COMPARED = (
    "workers", "gpus_per_trial", "memory_per_trial", "retries", "samples", "trial_timeout", "time_budget", "storage",
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


def make_snapshot(loaded: LoadedStudy) -> dict[str, Any]:
    """The part of a snapshot that follows from the configuration."""
    space = loaded.space
    return {
        "file": loaded.file,
        "question": loaded.first.question,
        "config": loaded.yaml(),
        "vary": {key: list(values) for key, values in space.vary.items()},
        "search": {key: asdict(each) for key, each in space.search.items()},
        "cases": {name: dict(settings) for name, settings in space.cases.items()},
        "samples": space.samples,
        "retries": loaded.config.retries,
        "base": dict(space.base),
        "objectives": [each.model_dump() for each in loaded.config.objectives],
    }


def updated_snapshot(stored: Mapping[str, Any], loaded: LoadedStudy, *, allow_changed_code: bool) -> dict[str, Any]:
    """The snapshot of a study that is continued.

    Args:
        stored: The snapshot as it is. One that an earlier version wrote has no `versions`; it takes those of now.
        loaded: The study.
        allow_changed_code: Continue with other plugins than those of the snapshot, and record each change.

    Raises:
        RequestError: The configuration or the code is another one.
    """
    require_same_study(loaded.name, stored["config"], loaded.yaml())
    now = loaded.registry.versions()
    recorded = stored.get("versions", now)
    if not allow_changed_code:
        require_same_code(recorded, now, f"the study {loaded.name}")
    changes = changed_code(recorded, now)
    code = {"versions": now, "changed_code": [*stored.get("changed_code", []), *changes]} if changes else {}
    return {"versions": recorded, **stored, **make_snapshot(loaded), **code}


def space_of(snapshot: Mapping[str, Any]) -> Space:
    """The space of a study, from its snapshot."""
    search = snapshot["search"].items()
    return Space(
        vary={key: tuple(values) for key, values in snapshot["vary"].items()},
        search={key: Range(**{**each, "choices": tuple(each["choices"])}) for key, each in search},
        samples=snapshot["samples"],
        base=snapshot["base"],
        cases=snapshot["cases"],
    )


def require_same_study(name: str, stored: str, configured: str) -> None:
    """Raise if the configurations differ in what decides the results; slots and time limits may change."""
    before, now = _compared(stored), _compared(configured)
    if before == now:
        return
    diff = list(unified_diff(before, now, "the existing study", "this configuration", lineterm="", n=1))
    raise RequestError(
        f"there is a study `{name}` already, with another configuration:\n"
        + "\n".join(f"  {line}" for line in diff if not line.startswith("@@"))
        + "\nContinue it with its own configuration, or give this one another name: --set study.name=…"
    )


def _compared(yaml: str) -> list[str]:
    data, _ = parse(yaml)
    data["study"] = {key: value for key, value in data["study"].items() if key not in _NOT_COMPARED}
    for section in ("track", "plugins"):
        data.pop(section, None)
    return write(data).splitlines()

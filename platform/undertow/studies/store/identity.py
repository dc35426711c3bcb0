"""What a study is, as it stands in Optuna's database: its question, configuration and space. Another one is refused.

about = stored_snapshot(study)                # None if it is not one of Undertow's
refuse_another(name, about["config"], loaded.yaml())
space = space_of(about)
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from undertow.config.space import Range, Space
from undertow.config.yaml12 import parse, write
from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.storage import with_retries

if TYPE_CHECKING:
    from optuna import Study

ABOUT = "undertow"
"""The attribute of a study in which it stands."""

_HEARING = 3.0  # seconds that the creator of a study has to say what it is
_NOT_COMPARED = (
    "workers", "gpus_per_trial", "memory_per_trial", "retries", "samples", "trial_timeout", "time_budget", "storage",
    "trials",  # what earlier versions called `samples`
)  # fmt: skip


def wait_for_snapshot(study: "Study") -> None:
    """Wait a moment for its creator to say what it is; if two said it, the study would have two parent runs."""
    deadline = time.monotonic() + _HEARING
    while stored_snapshot(study) is None and time.monotonic() < deadline:
        time.sleep(0.05)


def stored_snapshot(study: "Study") -> dict[str, Any] | None:
    """What is kept with a study; None if nobody has said it."""
    known: dict[str, Any] | None = with_retries(lambda: study.user_attrs).get(ABOUT)
    return known


def snapshot(loaded: LoadedStudy) -> dict[str, Any]:
    """What is to be kept with a study, of its configuration."""
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


def space_of(about: Mapping[str, Any]) -> Space:
    """What is varied and searched, from what is kept with the study."""
    return Space(
        vary={key: tuple(values) for key, values in about["vary"].items()},
        search={key: Range(**{**each, "choices": tuple(each["choices"])}) for key, each in about["search"].items()},
        samples=about["samples"],
        base=about["base"],
        cases=about["cases"],
    )


def refuse_another(name: str, known: str, wanted: str) -> None:
    """Raise if what decides the results differs; how many work on it, and how long, may change."""
    before, now = _compared(known), _compared(wanted)
    if before == now:
        return
    diff = list(unified_diff(before, now, "the study that is there", "this configuration", lineterm="", n=1))
    raise RequestError(
        f"there is a study `{name}` already, and it is another one:\n"
        + "\n".join(f"  {line}" for line in diff if not line.startswith("@@"))
        + "\nGo on with it by its own configuration, or give this one a name of its own: --set study.name=…"
    )


def _compared(yaml: str) -> list[str]:
    data, _ = parse(yaml)
    data["study"] = {key: value for key, value in data["study"].items() if key not in _NOT_COMPARED}
    for section in ("track", "plugins"):
        data.pop(section, None)
    return write(data).splitlines()

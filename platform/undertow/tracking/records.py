"""What an outbox line can say, and how it becomes things that MLflow takes.

A line is one JSON object with its kind and the time it was written:

    {"kind": "metrics", "at": 1795474026549, "rows": [["train/loss", 0.7, 10, 1795474026549]]}

Metrics are checked on the way in, by `metric_row`, where the caller can still be told. Text is fitted on the way out,
by `items`, since the outbox keeps it whole.
"""

import hashlib
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, SupportsIndex

from undertow._system.names import check_name as check_name

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
STATUSES: tuple[Status, ...] = ("RUNNING", "FINISHED", "FAILED", "KILLED")
FINAL: frozenset[str] = frozenset(STATUSES) - {"RUNNING"}

LONGEST_NAME = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
_BIGINT = 2**63

Row = tuple[str, float, int, int]
"""Key, value, step, timestamp in milliseconds."""


@dataclass(frozen=True)
class Metric:
    """One point of a metric."""

    key: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True)
class Param:
    """One parameter; MLflow never lets it change."""

    key: str
    value: str


@dataclass(frozen=True)
class Tag:
    """One tag; the last value wins."""

    key: str
    value: str


@dataclass(frozen=True)
class ExperimentTag:
    """One tag of the run's experiment; the last value wins."""

    key: str
    value: str


@dataclass(frozen=True)
class Artifact:
    """A file or folder below the run folder, and where it goes among the run's artifacts."""

    path: str
    directory: str


@dataclass(frozen=True)
class StatusChange:
    """The run's status from `at` on (milliseconds)."""

    status: Status
    at: int


Item = Metric | Param | Tag | ExperimentTag | Artifact | StatusChange


class BadRecord(ValueError):
    """A line of an outbox that says nothing this version understands."""


def metric_row(key: str, value: SupportsFloat, step: SupportsIndex, timestamp: int) -> Row:
    """Check one point of a metric.

    Raises:
        ValueError: The name, value or step cannot be stored, and why.
    """
    check_name(key)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{key} is {number} at step {step}: a chart can only show finite numbers")
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise ValueError(f"the step of {key} is {step!r}; it must be a whole number")
    whole = operator.index(step)
    if not -_BIGINT <= whole < _BIGINT:
        raise ValueError(f"the step of {key} is {whole}; a store keeps 64 bits")
    return key, number, whole, timestamp


def items(record: Mapping[str, Any]) -> Iterator[Item]:
    """Cut one record into what MLflow takes, fitted to its limits.

    Raises:
        BadRecord: The record is not one of ours.
    """
    try:
        yield from _items(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"not a record that this version understands: {error!r}") from error


def _items(record: Mapping[str, Any]) -> Iterator[Item]:
    match record["kind"]:
        case "start":
            yield from (Tag(_name(k), _fit(v, LONGEST_TAG)) for k, v in record["tags"].items())
            yield from (Param(_name(k), _fit(v, LONGEST_PARAM)) for k, v in record["params"].items())
        case "metrics":
            yield from (Metric(_name(k), float(v), int(step), int(at)) for k, v, step, at in record["rows"])
        case "params":
            yield from (Param(_name(k), _fit(v, LONGEST_PARAM)) for k, v in record["params"].items())
        case "tags":
            yield from (Tag(_name(k), _fit(v, LONGEST_TAG)) for k, v in record["tags"].items())
        case "experiment-tags":
            # Whole: such a tag is for programs to read, and half of it would be worse than none.
            yield from (ExperimentTag(_name(k), _clean(v)) for k, v in record["tags"].items())
        case "artifact":
            yield Artifact(str(record["path"]), str(record["directory"]))
        case "status":
            if record["status"] not in STATUSES:
                raise BadRecord(f"no such status: {record['status']!r}")
            yield StatusChange(record["status"], int(record["at"]))
        case kind:
            raise BadRecord(f"no such kind of record: {kind!r}")


def _clean(text: str) -> str:
    """Text that every store takes: no NUL (PostgreSQL), no lone surrogate (UTF-8)."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def _fit(text: str, longest: int) -> str:
    """Text that every store takes, cut when it is too long."""
    clean = _clean(text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def _name(name: str) -> str:
    """A name within the limit; a shortened one ends in a digest of the whole, so that two stay two."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{name[: LONGEST_NAME - 9]}-{digest}"

"""Records: the lines of an outbox, and the items that MLflow stores.

A line is one JSON object with its kind and the time it was written, in milliseconds since 1970:

    {"kind": "metrics", "at": 1795474026549, "rows": [["train/loss", 0.7, 10, 1795474026549]]}

`metric_row` validates metrics when they are written, so that the caller gets the error. `items` shortens text when it
is read, so that the outbox keeps the whole text.
"""

import hashlib
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, SupportsIndex

from undertow._system.names import check_name as check_name

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
STATUSES: tuple[RunStatus, ...] = ("RUNNING", "FINISHED", "FAILED", "KILLED")
FINAL: frozenset[str] = frozenset(STATUSES) - {"RUNNING"}

MAX_NAME = 250  # characters, as the next two
MAX_PARAM = 6000
MAX_TAG = 8000
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
    """One parameter; MLflow rejects another value of it later."""

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
    """A file or folder below the run folder, and its directory among the run's artifacts."""

    path: str
    directory: str


@dataclass(frozen=True)
class StatusChange:
    """The run's status from `at` on, in milliseconds since 1970."""

    status: RunStatus
    at: int


Item = Metric | Param | Tag | ExperimentTag | Artifact | StatusChange


class BadRecord(ValueError):
    """A line of an outbox that this version cannot read."""


def metric_row(key: str, value: SupportsFloat, step: SupportsIndex, timestamp: int) -> Row:
    """Validate one point of a metric.

    Raises:
        ValueError: The name, value or step cannot be stored; the message says why.
    """
    check_name(key)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{key} is {number} at step {step}: only finite numbers can be stored")
    return key, number, _whole(step, f"the step of {key}"), timestamp


def items(record: Mapping[str, Any]) -> Iterator[Item]:
    """Split one record into the items that MLflow stores, within its limits.

    Raises:
        BadRecord: The record has an unknown form.
    """
    try:
        yield from _items(record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadRecord(f"not a record that this version understands: {error!r}") from error


def _items(record: Mapping[str, Any]) -> Iterator[Item]:
    match record["kind"]:
        case "start":
            yield from (Tag(_name(k), _shortened(v, MAX_TAG)) for k, v in record["tags"].items())
            yield from (Param(_name(k), _shortened(v, MAX_PARAM)) for k, v in record["params"].items())
        case "metrics":
            yield from (_metric(*row) for row in record["rows"])
        case "params":
            yield from (Param(_name(k), _shortened(v, MAX_PARAM)) for k, v in record["params"].items())
        case "tags":
            yield from (Tag(_name(k), _shortened(v, MAX_TAG)) for k, v in record["tags"].items())
        case "experiment-tags":
            # Not shortened: programs read these tags, and a shortened one cannot be parsed.
            yield from (ExperimentTag(_name(k), _storable(v)) for k, v in record["tags"].items())
        case "artifact":
            yield Artifact(str(record["path"]), str(record["directory"]))
        case "status":
            if record["status"] not in STATUSES:
                raise BadRecord(f"no such status: {record['status']!r}")
            yield StatusChange(record["status"], _whole(record["at"], "the time"))
        case kind:
            raise BadRecord(f"no such kind of record: {kind!r}")


def _metric(key: str, value: object, step: object, timestamp: object) -> Metric:
    """A point of a metric as it was read: JSON has numbers that no store has, and other types."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}: only finite numbers can be stored")
    whole = _whole(step, f"the step of {key}"), _whole(timestamp, f"the time of {key}")
    return Metric(_name(key), float(value), *whole)


def _whole(number: object, what: str) -> int:
    """A whole number as every store accepts it: PostgreSQL has 64 bits."""
    if isinstance(number, bool) or not isinstance(number, SupportsIndex):
        raise ValueError(f"{what} is {number!r}; it must be a whole number")
    whole = operator.index(number)
    if not -_BIGINT <= whole < _BIGINT:
        raise ValueError(f"{what} is {whole}; it must fit into 64 bits")
    return whole


def _storable(text: str) -> str:
    """Text that every store accepts: without NUL (PostgreSQL) and lone surrogates (UTF-8)."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def _shortened(text: str, limit: int) -> str:
    """Text that every store accepts, of at most `limit` characters."""
    storable = _storable(text)
    return storable if len(storable) <= limit else storable[: limit - 1] + "…"


def _name(name: str) -> str:
    """A name within the limit; a shortened one ends in a digest of the whole name, so that names stay unique."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{name[: MAX_NAME - 9]}-{digest}"

"""What is recorded of a trained network: its test, whether the task is solved, and what guessing scores.

    record_trivial_scores(built.task, record)          # before the first step
    record_test(parts, scores, tested, record)         # after the last
    record_solved(built.task, record)

B batch.
"""

import re
import sys
from collections.abc import Mapping, Sequence

from undertow.api.contract import Curve, Task
from undertow.train.held_out import Part
from undertow.train.record import Record

TESTED_TAG = "undertow.tested"
"""Which checkpoint was tested, and on how many examples."""

NOT_TESTED_TAG = "undertow.not_tested"
"""Why a run was not tested, or not completely."""


def record_trivial_scores(task: Task, record: Record) -> None:
    """Record ``task/trivial_<score>``, as far as the task states them; in MLflow they are tags."""
    record.constants({f"task/trivial_{name}": score for name, score in trivial_scores(task).items()})


def trivial_scores(task: Task) -> dict[str, float]:
    """The loss and the scores of the best answer that ignores the input, as far as the task states them."""
    scores = {name: task.trivial_scores[name] for name in task.metrics() if name in task.trivial_scores}
    return scores if task.trivial_loss is None else {"loss": task.trivial_loss, **scores}


def is_solved(solved: str, metrics: Mapping[str, float]) -> bool | None:
    """Whether metrics fulfil `Task.solved`, such as ``val/loss < 0.05``; None where it states no such condition."""
    found = re.match(r"(\S+) ([<>]) ([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:,|$)", solved, re.IGNORECASE)
    if found is None or found[1] not in metrics:
        return None
    value, limit = metrics[found[1]], float(found[3])
    return value < limit if found[2] == "<" else value > limit


def record_solved(task: Task, record: Record) -> None:
    """Record ``task/solved`` by the latest scores, where the task states when it is solved."""
    if (solved := is_solved(task.solved, record.latest)) is not None:
        record.scalars({"task/solved": float(solved)}, record.steps)


def record_test(parts: Sequence[Part], scores: Sequence[Mapping[str, float]], best: int | None, record: Record) -> None:
    """Record the scores of the test, and the curves over lengths.

    Args:
        parts: What was tested.
        scores: Of each part.
        best: The step of the best checkpoint; None if the last network was tested, because there is no such checkpoint.
        record: Where they go.
    """
    by_length: dict[str, dict[int, float]] = {}
    for part, found in zip(parts, scores, strict=True):
        if part.length is None:
            record.scalars({f"test/{name}": value for name, value in found.items()}, record.steps)
        else:
            for name, value in found.items():
                by_length.setdefault(f"test/{name}/by_length", {})[part.length] = value
    for name, values in by_length.items():
        record.curves[name] = Curve(list(values), list(values.values()))
        record.curve(name, record.curves[name])
    which = f"step {record.steps}" if best is None else f"best.ckpt, step {best}"
    record.tag(TESTED_TAG, f"{which}, {parts[0].examples} examples")


def record_not_tested(name: str, problems: Sequence[str], parts: Sequence[Part], record: Record) -> None:
    """Name what was not tested, and why, on standard error and in a tag; a run that is trained stays one."""
    if problems:
        text = f"{'; '.join(problems)}: {'not all' if parts else 'nothing'} of the test was done"
        print(f"{name}: {text}", file=sys.stderr)
        record.tag(NOT_TESTED_TAG, text)


def failed_test(error: Exception, record: Record) -> str:
    """The problem of a test that raised; its traceback is kept."""
    what = "the test failed"
    return f"{what}: {type(error).__name__}: {error}{record.traceback(error, what)}"

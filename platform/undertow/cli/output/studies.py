"""The results and the state of a study, for a terminal and as JSON.

print_study(results, report)
emit(status_document(read_status(url, name)))
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.cli.output.console import note, out
from undertow.cli.output.links import where_to_look
from undertow.cli.output.runs import not_shipped
from undertow.cli.output.tables import GAP, fits, key_values, print_table
from undertow.tracking.folder import RunFolder
from undertow.tracking.shipping.process import last_problem

if TYPE_CHECKING:
    from undertow.report.results import StudyResults
    from undertow.studies.status import StudyStatus


def print_study(results: "StudyResults", report: Path) -> None:
    """Print the table of a study, where its report and charts are, how many combinations are left, and the answer.

    Args:
        results: The study.
        report: The path of its report, in the folder of its parent run.
    """
    print_results(results)
    if report.exists():
        note(f"Report: {report}")
    run = RunFolder.open(report.parent)
    if run.shipped:
        for line in where_to_look(run.path, view=results.name):
            note(line)
    else:
        note(not_shipped(results.name, run.path.parent, last_problem(run.path)))
    if left := sum(trial.state in ("missing", "waiting", "stopped", "running") for trial in results.combinations):
        note(f"{left} of {len(results.combinations)} combinations are left: run the same command to continue.")
    print_answer(results)


def print_results(results: "StudyResults") -> None:
    """Print the table of a study and how to read it.

    A table that is too wide for the terminal has fewer columns; if these are too wide as well, it is printed in blocks
    of columns, each with the varied values.
    """
    from undertow.report.grouping import group_results
    from undertow.report.tables.results_table import group_table, how_to_read

    console, groups = out(), group_results(results)
    for spread, short in ((True, False), (True, True), (False, False), (False, True), (True, True)):
        cells = group_table(groups, spread, short)
        headings = {name: name if spread else name.replace(" of ", "\nof ") for name in cells.columns}
        gap = GAP if spread else 1
        if fits(list(headings.values()), cells.rows, console.width, gap):
            break
    keys = sum(any(key in group.params for group in groups.groups) for key in results.space.vary)
    right = [headings[name] for name in cells.right]
    print_table(list(headings.values()), cells.rows, right=right, keys=keys, gap=gap)
    console.print(f"{how_to_read(groups, spread)}.\n", highlight=False, markup=False)


def print_answer(results: "StudyResults") -> None:
    """Print the question of a study and its answer in sentences, those of the report."""
    from undertow.report.grouping import group_results
    from undertow.report.summary import summarize

    for sentence in ["", results.question, *summarize(group_results(results))]:
        out().print(sentence, highlight=False, markup=False)


def study_document(results: "StudyResults") -> dict[str, Any]:
    """Return the JSON object of a study's results."""
    return {
        "study": results.name,
        "objectives": [{"metric": each.metric, "direction": each.direction} for each in results.objectives],
        "trials": [
            {
                "params": dict(trial.params),
                "sample": trial.sample,
                "state": trial.state,
                "number": trial.number,
                "attempts": trial.attempts,
                "reason": trial.reason,
                "values": list(trial.values),
                "metrics": dict(trial.metrics),
                "steps": trial.steps,
                "seconds": trial.seconds,
                "run_name": trial.run_name,
                "folder": trial.folder,
            }
            for trial in results.combinations
        ],
    }


def print_status(status: "StudyStatus") -> None:
    """Print how many combinations are in each state, the drivers, the running trials and the failures."""
    counts = status.counts
    shown = {"study": status.name, "combinations": str(counts.total), "settled": str(counts.settled)}
    shown |= {state: str(count) for state, count in sorted(counts.states.items())}
    if counts.best:
        shown["best"] = f"{status.objective} {counts.best[0]:.4g}  {counts.best[1]}"
    if status.seconds_each is not None:
        shown["mean time per run"] = f"{status.seconds_each:.1f} s"
    if status.packs:
        runs, packs = sum(status.packs), len(status.packs)
        one_by_one = "".join(f"; {number} one by one ({reason})" for reason, number in status.one_by_one.items())
        in_packs = f"{runs} runs in {packs} pack{'s' if packs > 1 else ''} of up to {status.packs[0]}"
        shown["packed"] = in_packs + one_by_one
    if status.singly:
        shown["singly"] = "; ".join(f"{runs} runs ({reason})" for reason, runs in status.singly.items())
    for machine, processes in status.drivers.items():
        shown[f"driver on {machine}"] = ", ".join(map(str, processes))
    for name, started in status.running.items():
        shown[f"running: {name}"] = f"{(datetime.now() - started).total_seconds():.0f} s"
    for name, reason in status.failed.items():
        shown[f"failed: {name}"] = reason
    out().print(key_values(shown))


def status_document(status: "StudyStatus") -> dict[str, Any]:
    """Return the JSON object of a study's state."""
    counts = status.counts
    return {
        "study": status.name,
        "total": counts.total,
        "settled": counts.settled,
        "states": dict(counts.states),
        "best": {"value": counts.best[0], "run": counts.best[1]} if counts.best else None,
        "objective": status.objective,
        "seconds_each": status.seconds_each,
        "packs": list(status.packs),
        "one_by_one": dict(status.one_by_one),
        "singly": dict(status.singly),
        "running": {name: started.isoformat() for name, started in status.running.items()},
        "failed": dict(status.failed),
        "drivers": dict(status.drivers),
    }

"""`make gpu`: everything that needs a GPU, in at most eight minutes, as one table and one JSON file.

    .venv/bin/python tests/gpu/run.py                             all parts: gpu.json and gpu.md
    .venv/bin/python tests/gpu/run.py --only tests study          some of them
    python3 tests/gpu/run.py --wheels FOLDER                      with this Python's torch; what it lacks is in FOLDER

Each part is a process of its own with a time limit. One that fails or runs out of time is a row that says so, and the
next one starts. Both files are written after every part. Exit code 0 if every part succeeded, 1 if one did not, and 2
if there is no GPU to use.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks and the files here

from benchmarks.command import run
from gpu.parts import Part, Reading, all_parts
from gpu.wheels import continue_in_environment

_TESTS = Path(__file__).parents[1]
_BUDGET = 480.0  # seconds for everything
_LEFT_BEHIND = 15.0  # seconds for what a part leaves behind, such as a shipper
_LEAST = 5.0  # seconds; a part for which less is left is not started


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description="Test and measure Undertow on a GPU.")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE",
                        help="where the results go; the table goes beside it, as .md")  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="PART", choices=[part.name for part in all_parts("cuda", 1)],
                        help=f"some of {', '.join(part.name for part in all_parts('cuda', 1))}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=_BUDGET, help="time limit for everything")
    parser.add_argument("--commit", default="", help="what was tested, where there is no git repository")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="wheels of the packages that this Python lacks")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)  # for its test
    arguments = parser.parse_args()
    if arguments.wheels:
        continue_in_environment(arguments.wheels)
    start = time.monotonic()
    card = json.loads(
        subprocess.run([sys.executable, Path(__file__).with_name("card.py")], stdout=-1, check=True).stdout
    )
    if card["missing"] and arguments.device == "cuda":
        print(f"make gpu needs a GPU: {card['missing']}", file=sys.stderr)
        return 2
    facts = {"card": "none", **card, "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    report = Report(arguments.json, facts | {"commit": arguments.commit or _commit()})
    parts = all_parts(arguments.device, int(facts["cards"]) or 1)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # what a part leaves behind may still write
        chosen = [part for part in parts if part.name in (arguments.only or part.name)]
        measure(chosen, report, Path(folder), deadline=start + arguments.seconds)
    print(report.as_markdown())
    return 0 if all(row["result"] == "ok" for row in report.rows) else 1


class Report:
    """The results so far, as a JSON file and a Markdown table beside it.

    Args:
        file: The JSON file.
        facts: The card, its driver, versions, date and commit.
    """

    def __init__(self, file: Path, facts: dict[str, Any]) -> None:
        self.file = file
        self.facts = {name: value for name, value in facts.items() if name != "missing"}
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add the row of a part, and write both files."""
        self.rows.append(row)
        document = {"facts": self.facts, "parts": self.rows}
        for path, text in (
            (self.file, json.dumps(document, indent=2) + "\n"),
            (self.file.with_suffix(".md"), self.as_markdown()),
        ):
            draft = path.with_name(f"{path.name}.draft")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)

    def as_markdown(self) -> str:
        """The facts, the parts, and the rows of the benchmarks."""
        lines = [f"| {' | '.join(self.facts)} |", "|---" * len(self.facts) + "|"]
        lines += [f"| {' | '.join(_cell(str(value)) for value in self.facts.values())} |", ""]
        lines += ["| part | result | seconds | |", "|---|---|---|---|"]
        lines += [f"| {r['part']} | {r['result']} | {r['seconds']:.0f} | {_cell(r['summary'])} |" for r in self.rows]
        bench = [row for part in self.rows for row in part["numbers"].get("rows", ())]
        if bench:
            lines += ["", "| benchmark | median | min - max | |", "|---|---|---|---|"]
        for row in bench:
            values = "skipped | " if row["value"] is None else f"{row['value']:.3g} {row['unit']} | {_span(row)}"
            lines.append(f"| {_cell(row['name'])} | {values} | {_cell(row['skipped'] or row['detail'])} |")
        return "\n".join(lines) + "\n"


def measure(parts: Sequence[Part], report: Report, folder: Path, *, deadline: float) -> None:
    """Run the parts one after another, whatever becomes of each, and add a row for each.

    Args:
        parts: What to run.
        report: Where the rows go.
        folder: Where each part gets a folder of its own.
        deadline: When everything must have ended, on the monotonic clock.
    """
    for part in parts:
        place = folder / part.name
        place.mkdir()
        limit = min(part.limit, deadline - time.monotonic() - _LEFT_BEHIND)
        start = time.monotonic()
        result, output, error = "not started", "", "no time was left"
        if limit >= _LEAST:
            print(f"{part.name} ...", end=" ", file=sys.stderr, flush=True)
            result, output, error = _run(part, place, limit)
            print(f"{result}, {time.monotonic() - start:.0f} s", file=sys.stderr)
        try:
            reading = part.read(output, place)
        except (ValueError, KeyError, IndexError) as unreadable:
            reading = Reading("", {})
            if result == "ok":
                result, error = "failed", f"its output cannot be read: {type(unreadable).__name__}: {unreadable}"
        said = "; ".join(each for each in (reading.summary, error.strip().rpartition("\n")[2]) if each)
        report.add(
            {
                "part": part.name,
                "result": result,
                "seconds": round(time.monotonic() - start, 1),
                "summary": said,
                "error": error,
                "command": list(part.command),
                "numbers": reading.numbers,
            }
        )


def _run(part: Part, place: Path, limit: float) -> tuple[str, str, str]:
    """Run one part; returns its result, its standard output, and the end of what it said if it failed."""
    chosen = ("MLFLOW_TRACKING_URI", "UNDERTOW_STUDY_URI")
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    environment |= {"UNDERTOW_HOME": str(place / "home"), "PYTHONSAFEPATH": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    try:
        spent = run(part.command, folder=place, environment=environment, limit=limit, patience=_LEFT_BEHIND)
    except (RuntimeError, OSError) as error:
        file = place / "output.txt"
        return "failed", file.read_text("utf-8", errors="replace") if file.exists() else "", str(error)
    if not spent.finished:
        return "out of time", spent.output, f"ended after {limit:.0f} s"
    return "ok", spent.output, ""


def _cell(text: str) -> str:
    """Text that is one cell of a table."""
    return " ".join(text.replace("|", "/").split())


def _span(row: dict[str, Any]) -> str:
    return f"{row['low']:.3g} - {row['high']:.3g}"


def _commit() -> str:
    """The commit, and whether there are changes beside it; `unknown` without git."""
    try:
        said = [
            subprocess.run(["git", *words], cwd=_TESTS, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{said[0]} with changes" if said[1] else said[0]


if __name__ == "__main__":
    sys.exit(main())

"""The progress of a study: a live view on a terminal, plain lines elsewhere.

with TerminalView(loaded) as view:
    run_study(loaded, home=home, watch=view)
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from undertow.studies.plan.load import LoadedStudy
    from undertow.studies.store.counts import Counts
    from undertow.studies.work.active_trial import ActiveTrial

_LINES_SECONDS = 10.0
_SHOWN = 16
_SHORTEST_BAR, _LONGEST_BAR = 8, 40
_GAP = 2
"""Columns of the terminal between a name, its bar and its numbers."""


class _Console(Console):
    """A console that discards its output when the process that reads it has ended; rich would end this process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class TerminalView:
    """Shows a study on standard error.

    Args:
        loaded: The study.
        quiet: Show nothing.
    """

    def __init__(self, loaded: "LoadedStudy", *, quiet: bool = False) -> None:
        self._name = loaded.name
        self._objective = loaded.config.objectives[0].metric
        self._quiet = quiet
        self._console = _Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live: Live | None = None
        self._settled_before: int | None = None  # when this driver began
        self._next_line = time.monotonic() + _LINES_SECONDS

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, counts: "Counts", active: "Sequence[ActiveTrial]", seconds: float) -> None:
        """Show the progress; called several times a second."""
        left = self._time_left(counts, active, seconds)
        if self._live is not None:
            self._live.update(self._bars(counts, active, left))
        elif not self._quiet and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + _LINES_SECONDS
            shown = f"{self._name}: {', '.join(self._counts(counts, active))}{left}"
            self._console.print(shown, highlight=False, soft_wrap=True)

    def ended(self, name: str, state: str, reason: str) -> None:
        """Print a line for a trial that has ended."""
        if not self._quiet:
            style = {"complete": "green", "pruned": "yellow"}.get(state, "red")
            line = Text.assemble((f"{state:9}", style), f" {name}  {reason}")
            self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line, even if the view is quiet."""
        self._console.print(text, soft_wrap=True)

    def _time_left(self, counts: "Counts", active: "Sequence[ActiveTrial]", seconds: float) -> str:
        """Estimated from what all slots have settled since this driver began; a trial that is half done counts half."""
        if self._settled_before is None:
            self._settled_before = counts.settled
        if counts.settled in (self._settled_before, counts.total):
            return ""
        in_progress = sum(min(each.follower.step / each.max_steps, 1.0) for each in active)
        rest = max(counts.total - counts.settled - in_progress, 0.0)
        seconds_each = seconds / (counts.settled - self._settled_before + in_progress)
        return f", about {timedelta(seconds=round(seconds_each * rest))} left"

    def _counts(self, counts: "Counts", active: "Sequence[ActiveTrial]") -> list[str]:
        """How many are done, and, of less importance, what the others do and which is the best."""
        states = counts.states
        counted = [f"{states[state]} {state}" for state in ("running", "failed", "pruned") if states.get(state)]
        if packed := [each.assignment.pack for each in active if each.assignment.pack]:
            packs = len(set(packed))
            counted.append(f"{len(packed)} side by side in {packs} pack{'s' if packs > 1 else ''}")
        if counts.best:
            counted.append(f"best {self._objective} {counts.best[0]:.4g} ({counts.best[1]})")
        return [f"{states.get('complete', 0)} of {counts.total} done", *counted]

    def _bars(self, counts: "Counts", active: "Sequence[ActiveTrial]", left: str) -> Group:
        """A line for the study, one for each running trial or pack; what has no room beside the bar is below it."""
        done, *others = self._counts(counts, active)
        packs: dict[str, list[ActiveTrial]] = {}
        for each in active:
            packs.setdefault(each.assignment.pack or each.assignment.run, []).append(each)
        rows: list[tuple[str | Text, tuple[int, int], str]] = []
        for first, *rest in list(packs.values())[:_SHOWN]:
            step = min(each.follower.step for each in (first, *rest))
            name = f"  {first.assignment.name}{f' and {len(rest)} more' if rest else ''}"
            rows.append((name, (first.max_steps, step), f"step {step} of {first.max_steps}"))
        width = self._console.width
        name_width = max(cell_len(each) for each in (self._name, *(str(name) for name, _, _ in rows)))
        in_one_line = ", ".join([done, *others]) + left
        is_short = name_width + _SHORTEST_BAR + cell_len(in_one_line) + 2 * _GAP <= width
        text = in_one_line if is_short else done + left
        text_width = max(cell_len(each) for each in (text, *(steps for _, _, steps in rows)))
        bar_width = min(_LONGEST_BAR, width - name_width - text_width - 2 * _GAP)
        rows.insert(0, (Text(self._name, style="bold"), (max(counts.total, 1), counts.settled), text))
        bars = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for title, (total, completed), words in rows:
            if bar_width >= _SHORTEST_BAR:
                bars.add_row(title, ProgressBar(total, completed, width=bar_width), words)
            else:
                bars.add_row(Text.assemble(title, " " * _GAP, words))
        below = [] if is_short or not others else [Text(f"  {', '.join(others)}")]
        if len(packs) > _SHOWN:
            below.append(Text(f"  and {len(packs) - _SHOWN} more"))
        return Group(bars, *below)

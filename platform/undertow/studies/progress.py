"""How a study goes: a live view on a terminal, plain lines elsewhere.

with TerminalView(loaded) as view:
    run_study(loaded, home=home, watch=view)
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from undertow.studies.plan.load import LoadedStudy
    from undertow.studies.store.counts import Counts
    from undertow.studies.work.driver import Busy

_LINES_SECONDS = 10.0
_SHOWN = 16


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
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live: Live | None = None
        self._before: int | None = None  # settled when this driver began
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

    def show(self, counts: "Counts", busy: "Sequence[Busy]", first_seconds: float) -> None:
        """Called several times a second."""
        left = self._left(counts, busy, first_seconds)
        if self._live is not None:
            self._live.update(self._picture(counts, busy, left))
        elif not self._quiet and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + _LINES_SECONDS
            self._console.print(f"{self._name}: {self._counts(counts)}{left}", highlight=False, soft_wrap=True)

    def ended(self, name: str, state: str, words: str) -> None:
        """An attempt has ended: a line, that stays."""
        if not self._quiet:
            style = {"complete": "green", "pruned": "yellow"}.get(state, "red")
            line = Text.assemble((f"{state:9}", style), f" {name}  {words}")
            self._console.print(line, soft_wrap=True)

    def _left(self, counts: "Counts", busy: "Sequence[Busy]", seconds: float) -> str:
        """By what all workers together have settled since this driver began; what is half done counts half."""
        if self._before is None:
            self._before = counts.settled
        if counts.settled in (self._before, counts.total):
            return ""
        under_way = sum(min(each.follower.step / each.max_steps, 1.0) for each in busy)
        rest = max(counts.total - counts.settled - under_way, 0.0)
        seconds_each = seconds / (counts.settled - self._before + under_way)
        return f", about {timedelta(seconds=round(seconds_each * rest))} left"

    def _counts(self, counts: "Counts") -> str:
        states = counts.states
        counted = [f"{states[state]} {state}" for state in ("running", "failed", "pruned") if states.get(state)]
        best = f", best {self._objective} {counts.best[0]:.4g} ({counts.best[1]})" if counts.best else ""
        return ", ".join([f"{states.get('complete', 0)} of {counts.total} done", *counted]) + best

    def _picture(self, counts: "Counts", busy: "Sequence[Busy]", left: str) -> Group:
        bars = Table.grid(padding=(0, 2))
        whole = ProgressBar(total=max(counts.total, 1), completed=counts.settled, width=40)
        bars.add_row(Text(self._name, style="bold"), whole, self._counts(counts) + left)
        for each in busy[:_SHOWN]:
            steps = ProgressBar(total=each.max_steps, completed=each.follower.step, width=40)
            bars.add_row(f"  {each.work.name}", steps, f"step {each.follower.step} of {each.max_steps}")
        if len(busy) > _SHOWN:
            bars.add_row(f"  and {len(busy) - _SHOWN} more", "", "")
        return Group(bars)

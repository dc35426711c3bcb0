"""How a study goes, as a person sees it: lines where there is no terminal, a picture that moves where there is."""

import io
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from undertow.studies import progress
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.progress import TerminalView
from undertow.studies.store.counts import Counts

Show = Callable[..., str]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def busy(name: str, step: int, max_steps: int = 100) -> Any:
    return SimpleNamespace(
        assignment=SimpleNamespace(name=name), follower=SimpleNamespace(step=step), max_steps=max_steps
    )


def stand(total: int, best: tuple[float, str] | None = None, **states: int) -> Counts:
    return Counts(total, states, best)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[TerminalView], str]:
    """Put a view on a terminal; what it has last drawn."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)

    def drawn(view: TerminalView) -> str:
        assert view._live is not None
        with terminal.capture() as capture:
            terminal.print(view._live.get_renderable())
        return capture.get()

    monkeypatch.setattr(progress, "Console", lambda **_: terminal)
    return drawn


def test_without_a_terminal_each_end_is_a_line(
    load: Callable[..., LoadedStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    with TerminalView(load()) as view:
        view.ended("rnn-T1-s0", "complete", "val/loss 0.5")
        view.ended("lstm-T1-s1", "failed", "ValueError: [red]it broke[/red]")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "complete  rnn-T1-s0  val/loss 0.5\nfailed    lstm-T1-s1  ValueError: [red]it broke[/red]\n"


def test_without_a_terminal_the_counts_come_every_ten_seconds(
    load: Callable[..., LoadedStudy], capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with TerminalView(load()) as view:
        for second in range(25):
            clock.now = float(second)
            view.show(stand(4, (0.25, "rnn-T1-s0"), complete=1, failed=1, running=2), [], clock.now)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["small: 1 of 4 done, 2 running, 1 failed, best val/loss 0.25 (rnn-T1-s0)"] * 2


def test_quiet_is_quiet(load: Callable[..., LoadedStudy], capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with TerminalView(load(), quiet=True) as view:
        clock.now = 100.0
        view.show(stand(4, running=1), [busy("rnn", 1)], 100.0)
        view.ended("rnn", "complete", "")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_every_run_at_work_has_a_bar(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(stand(8, complete=1, running=2, waiting=5), [busy("rnn-T1-s0", 40), busy("lstm-T1-s0", 0)], 9.0)
        lines = on_a_terminal(view).splitlines()
    assert "small" in lines[0]
    assert "1 of 8 done, 2 running" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["rnn-T1-s0", "lstm-T1-s0"]
    assert [line.split("step ")[1].strip() for line in lines[1:]] == ["40 of 100", "0 of 100"]


def test_on_a_terminal_many_workers_do_not_fill_the_screen(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(stand(99, running=40), [busy(f"run-{number}", 1) for number in range(40)], 1.0)
        lines = on_a_terminal(view).splitlines()
    assert len(lines) == 18
    assert "and 24 more" in lines[-1]


def left(load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str], *shown: Sequence[Any]) -> str:
    """What the view says of the time left, after it was shown all this."""
    with TerminalView(load()) as view:
        for what in shown:
            view.show(*what)
        _, about, said = on_a_terminal(view).splitlines()[0].partition(", about ")
    return said.strip() if about else ""


def test_the_time_left_is_that_of_all_workers_together(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    """Two workers, 10 s a run: two of 8 runs are done and two half done after 15 s: 5 are left, 5 s each."""
    two = [busy("rnn-T1-s0", 50), busy("lstm-T1-s0", 50)]
    assert (
        left(load, on_a_terminal, (stand(8), [], 0.0), (stand(8, complete=2, running=2), two, 15.0)) == "0:00:25 left"
    )


def test_what_was_done_before_this_driver_began_says_nothing_of_its_pace(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    begun = stand(100, complete=90, waiting=10)
    assert left(load, on_a_terminal, (begun, [], 0.0)) == ""
    assert left(load, on_a_terminal, (begun, [], 0.0), (stand(100, complete=91), [], 10.0)) == "0:01:30 left"


def test_an_attempt_that_is_tried_again_brings_the_end_no_nearer(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(stand(4, running=1), [], 0.0)
        view.ended("rnn-T1-s0", "lost", "its process was ended by SIGKILL")
        view.show(stand(4, running=1), [], 10.0)
        assert "left" not in on_a_terminal(view)


def test_a_study_that_is_done_has_no_time_left(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    assert left(load, on_a_terminal, (stand(2), [], 0.0), (stand(2, complete=1, pruned=1), [], 10.0)) == ""

"""The progress view: plain lines without a terminal, live bars on a terminal."""

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


def active(name: str, step: int, max_steps: int = 100, pack: str = "") -> Any:
    return SimpleNamespace(
        assignment=SimpleNamespace(name=name, run=name, pack=pack),
        follower=SimpleNamespace(step=step),
        max_steps=max_steps,
    )


def counts(total: int, best: tuple[float, str] | None = None, **states: int) -> Counts:
    return Counts(total, states, best)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[TerminalView], str]:
    """Show views on a terminal; the function returns what a view shows now."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)

    def drawn(view: TerminalView) -> str:
        assert view._live is not None
        with terminal.capture() as capture:
            terminal.print(view._live.get_renderable())
        return capture.get()

    monkeypatch.setattr(progress, "_Console", lambda **_: terminal)
    return drawn


def test_without_a_terminal_each_trial_that_ends_is_a_line(
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
            view.show(counts(4, (0.25, "rnn-T1-s0"), complete=1, failed=1, running=2), [], clock.now)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["small: 1 of 4 done, 2 running, 1 failed, best val/loss 0.25 (rnn-T1-s0)"] * 2


def test_a_quiet_view_prints_nothing(
    load: Callable[..., LoadedStudy], capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with TerminalView(load(), quiet=True) as view:
        clock.now = 100.0
        view.show(counts(4, running=1), [active("rnn", 1)], 100.0)
        view.ended("rnn", "complete", "")
    assert capsys.readouterr() == ("", "")


class NoReader(io.StringIO):
    """A pipe whose reader has ended."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_view_whose_reader_has_ended_shows_nothing_more_and_the_study_goes_on(
    load: Callable[..., LoadedStudy], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in `undertow study run FILE 2>&1 | head`."""
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", NoReader())
        with TerminalView(load()) as view:
            view.ended("rnn-T1-s0", "complete", "val/loss 0.5")
            view.note("the report cannot be written")
    print("results")
    assert capfd.readouterr().out == "results\n"


def test_on_a_terminal_every_running_trial_has_a_bar(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(counts(8, complete=1, running=2, waiting=5), [active("rnn-T1-s0", 40), active("lstm-T1-s0", 0)], 9.0)
        lines = on_a_terminal(view).splitlines()
    assert "small" in lines[0]
    assert "1 of 8 done, 2 running" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["rnn-T1-s0", "lstm-T1-s0"]
    assert [line.split("step ")[1].strip() for line in lines[1:]] == ["40 of 100", "0 of 100"]


def test_on_a_terminal_many_slots_do_not_fill_the_screen(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(counts(99, running=40), [active(f"run-{number}", 1) for number in range(40)], 1.0)
        lines = on_a_terminal(view).splitlines()
    assert len(lines) == 18
    assert "and 24 more" in lines[-1]


def left(load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str], *shown: Sequence[Any]) -> str:
    """The time left that a view shows after these calls of `show`."""
    with TerminalView(load()) as view:
        for progress_args in shown:
            view.show(*progress_args)
        _, about, rest = on_a_terminal(view).splitlines()[0].partition(", about ")
    return rest.strip() if about else ""


def test_the_time_left_is_that_of_all_slots_together(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    """Two slots, 10 s a run: two of 8 runs are done and two half done after 15 s: 5 are left, 5 s each."""
    two = [active("rnn-T1-s0", 50), active("lstm-T1-s0", 50)]
    assert (
        left(load, on_a_terminal, (counts(8), [], 0.0), (counts(8, complete=2, running=2), two, 15.0)) == "0:00:25 left"
    )


def test_runs_that_were_complete_before_this_driver_began_do_not_count_for_its_speed(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    before = counts(100, complete=90, waiting=10)
    assert left(load, on_a_terminal, (before, [], 0.0)) == ""
    assert left(load, on_a_terminal, (before, [], 0.0), (counts(100, complete=91), [], 10.0)) == "0:01:30 left"


def test_a_trial_that_is_retried_does_not_change_the_time_left(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    with TerminalView(load()) as view:
        view.show(counts(4, running=1), [], 0.0)
        view.ended("rnn-T1-s0", "lost", "its process was ended by SIGKILL")
        view.show(counts(4, running=1), [], 10.0)
        assert "left" not in on_a_terminal(view)


def test_a_finished_study_has_no_time_left(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    assert left(load, on_a_terminal, (counts(2), [], 0.0), (counts(2, complete=1, pruned=1), [], 10.0)) == ""


def test_a_pack_is_counted_and_has_one_bar_which_shows_its_last_replicate(
    load: Callable[..., LoadedStudy], on_a_terminal: Callable[[TerminalView], str]
) -> None:
    pack = [active(f"rnn-T1-s{seed}", 40 - seed, pack="one") for seed in range(8)]
    with TerminalView(load()) as view:
        view.show(counts(20, complete=1, running=9), [*pack, active("lstm-T1-s0", 5)], 9.0)
        lines = on_a_terminal(view).splitlines()
    assert "1 of 20 done, 9 running, 8 side by side in 1 pack" in lines[0]
    assert [line.split("  ")[1].strip() for line in lines[1:]] == ["rnn-T1-s0 and 7 more", "lstm-T1-s0"]
    assert [line.split("step ")[1].strip() for line in lines[1:]] == ["33 of 100", "5 of 100"]


def test_without_a_terminal_packs_are_counted(
    load: Callable[..., LoadedStudy], capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    packs = [active(f"rnn-T1-s{seed}", 1, pack=str(seed % 2)) for seed in range(16)]
    with TerminalView(load()) as view:
        clock.now = 11.0
        view.show(counts(48, running=16), packs, clock.now)
    assert capsys.readouterr().err == "small: 0 of 48 done, 16 running, 16 side by side in 2 packs\n"


@pytest.mark.parametrize(("width", "bar"), [(80, True), (48, False)])
def test_in_a_narrow_terminal_count_and_time_left_are_beside_the_name(
    load: Callable[..., LoadedStudy], monkeypatch: pytest.MonkeyPatch, width: int, bar: bool
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(progress, "_Console", lambda **_: terminal)
    running = [active("lstm-T1024-s0", 40, pack="one"), active("lstm-T1024-s1", 40, pack="one")]
    with TerminalView(load()) as view:
        view.show(counts(8), [], 0.0)
        view.show(counts(8, (0.25, "rnn-T1024-s0"), complete=4, running=2), running, 15.0)
        assert view._live is not None
        with terminal.capture() as capture:
            terminal.print(view._live.get_renderable())
        lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("small ")
    assert lines[0].endswith("4 of 8 done, about 0:00:10 left")
    assert lines[1].startswith("  lstm-T1024-s0 and 1 more ")
    assert lines[1].endswith("step 40 of 100")
    assert ("━" in lines[1]) == bar
    below = " ".join(line.strip() for line in lines[2:])
    assert below == "2 running, 2 side by side in 1 pack, best val/loss 0.25 (rnn-T1024-s0)"

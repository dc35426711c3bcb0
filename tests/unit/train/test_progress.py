"""The progress of a run on a terminal: name, step and time left stay, whatever its width."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from undertow.train.callbacks.progress import Line

NAME = "torchrecurrent/gated-antisymmetric-rnn-T64-s0"


def line(width: int, name: str = "lstm-T64-s0") -> str:
    """The line of a run at step 250 of 500 in a terminal of this width."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    progress = Progress(Line(console), console=console)
    progress.add_task(name, total=500, completed=250, values=["train/loss 0.1234", "val/loss 0.5678"])
    with console.capture() as capture:
        console.print(progress.get_renderable())
    (drawn,) = capture.get().splitlines()
    return drawn.rstrip()


def test_a_wide_terminal_shows_the_bar_and_every_value() -> None:
    drawn = line(120)
    assert drawn.startswith("lstm-T64-s0  ━")
    assert drawn.endswith("250/500  -:--:--  train/loss 0.1234  val/loss 0.5678")


@pytest.mark.parametrize(
    ("width", "bar", "values"),
    [(80, True, ["train/loss 0.1234", "val/loss 0.5678"]), (60, True, ["train/loss 0.1234"]), (48, True, [])],
)
def test_the_bar_becomes_shorter_before_values_go(width: int, bar: bool, values: list[str]) -> None:
    drawn = line(width)
    assert len(drawn) <= width
    assert ("━" in drawn) == bar
    assert drawn.partition("-:--:--")[2].split("  ")[1:] == values


def test_the_step_and_the_time_left_are_the_last_to_go() -> None:
    assert line(64, NAME) == f"{NAME}  250/500  -:--:--"

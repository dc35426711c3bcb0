"""Registers the tasks; imports neither torch nor scikit-learn."""

from collections.abc import Iterable

from undertow import Lengths, TaskSpec, hookimpl
from undertow_tasks.options import DigitsByPixelOptions


@hookimpl
def undertow_register_tasks() -> Iterable[TaskSpec]:
    """The tasks of this distribution."""
    scans = "Alpaydin & Kaynak 1998, doi 10.24432/C50P49"
    return (
        TaskSpec(
            name="digits-by-pixel",
            summary="Scanned digits, one pixel a step, then blank steps up to the length: which digit was it?",
            factory="undertow_tasks.digits_by_pixel:DigitsByPixel",
            options=DigitsByPixelOptions,
            paper=f"Le, Jaitly & Hinton 2015, arXiv 1504.00941; data: {scans}",
            shape="many-to-one",
            lengths=Lengths(default=64, minimum=64),
            metrics={"accuracy": "max"},
        ),
        TaskSpec(
            name="digit",
            summary="A scanned digit seen at once: the control without time",
            factory="undertow_tasks.digit:Digit",
            paper=f"data: {scans}",
            shape="one-to-one",
            lengths=Lengths(default=1, maximum=1),
            metrics={"accuracy": "max"},
        ),
        TaskSpec(
            name="adding",
            summary="The sum of two marked numbers, one in each half of a noisy sequence",
            factory="undertow_tasks.adding:Adding",
            paper="Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; halves: Arjovsky et al. 2016, "
            "arXiv 1511.06464",
            shape="many-to-one",
            lengths=Lengths(default=100, minimum=2),
        ),
        TaskSpec(
            name="copy",
            summary="Ten symbols to be written out again, in order, after a long blank",
            factory="undertow_tasks.copy:Copy",
            paper="Arjovsky, Shah & Bengio 2016, arXiv 1511.06464",
            shape="aligned",
            lengths=Lengths(default=120, minimum=21),
            metrics={"accuracy": "max"},
        ),
    )

"""The catalogue entries of the tasks over series; imports no torch."""

from undertow import Lengths, TaskSpec
from undertow_tasks.series.options import UcrOptions

SPECS = (
    TaskSpec(
        name="ucr",
        summary="A series of the UCR and UEA archives, then blank steps: of which class was it? Needs the data",
        factory="undertow_tasks.series.ucr:Ucr",
        options=UcrOptions,
        paper="Dau et al. 2018, arXiv 1810.07758; Bagnall et al. 2018, arXiv 1811.00075",
        shape="many-to-one",
        lengths=Lengths(default=128, minimum=2),
        metrics={"accuracy": "max"},
    ),
)

"""What the catalogue says of the generated memory tasks; imports no torch."""

from undertow import Lengths, TaskSpec

SPECS = (
    TaskSpec(
        name="adding",
        summary="The sum of two marked numbers, one in each half of a noisy sequence",
        factory="undertow_tasks.memory.adding:Adding",
        paper="Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; halves: Arjovsky et al. 2016, "
        "arXiv 1511.06464",
        shape="many-to-one",
        lengths=Lengths(default=100, minimum=2),
    ),
    TaskSpec(
        name="copy",
        summary="Ten symbols to be written out again, in order, after a long blank",
        factory="undertow_tasks.memory.copy:Copy",
        paper="Arjovsky, Shah & Bengio 2016, arXiv 1511.06464",
        shape="aligned",
        lengths=Lengths(default=120, minimum=21),
        metrics={"accuracy": "max"},
    ),
)

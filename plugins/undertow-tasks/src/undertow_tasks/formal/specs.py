"""The catalogue entries of the tasks over formal languages; imports no torch."""

from undertow import Lengths, TaskSpec
from undertow_tasks.formal.options import FormalOptions, ReverseOptions, SortOptions

PAPER = "Delétang et al. 2023, arXiv 2207.02098"

SPECS = (
    TaskSpec(
        name="parity",
        summary="Is the number of ones in a string odd?",
        factory="undertow_tasks.formal.parity:Parity",
        options=FormalOptions,
        paper=PAPER,
        shape="many-to-one",
        lengths=Lengths(default=40, minimum=32),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="parity-running",
        summary="Is the number of ones so far odd? An answer at every step",
        factory="undertow_tasks.formal.parity_running:ParityRunning",
        options=FormalOptions,
        paper=PAPER,
        shape="aligned",
        lengths=Lengths(default=40, minimum=32),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="cycle-navigation",
        summary="Where on a circle of five places does a walk end?",
        factory="undertow_tasks.formal.cycle_navigation:CycleNavigation",
        options=FormalOptions,
        paper=PAPER,
        shape="many-to-one",
        lengths=Lengths(default=40, minimum=20),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="cycle-navigation-running",
        summary="Where on a circle of five places is the walk now? An answer at every step",
        factory="undertow_tasks.formal.cycle_navigation_running:CycleNavigationRunning",
        options=FormalOptions,
        paper=PAPER,
        shape="aligned",
        lengths=Lengths(default=40, minimum=20),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="reverse",
        summary="Read a string, then write it from its end to its start",
        factory="undertow_tasks.formal.reverse:Reverse",
        options=ReverseOptions,
        paper=PAPER,
        shape="seq2seq",
        lengths=Lengths(default=10, minimum=4),
        metrics={"exact_match": "max"},
    ),
    TaskSpec(
        name="sort",
        summary="Read a string, then write its symbols in rising order",
        factory="undertow_tasks.formal.sort:Sort",
        options=SortOptions,
        paper=PAPER,
        shape="seq2seq",
        lengths=Lengths(default=10, minimum=4),
        metrics={"exact_match": "max"},
    ),
    TaskSpec(
        name="binary-addition",
        summary="Read two binary numbers, least significant digit first, then write their sum",
        factory="undertow_tasks.formal.binary_addition:BinaryAddition",
        paper=PAPER,
        shape="seq2seq",
        lengths=Lengths(default=21, minimum=13),
        metrics={"exact_match": "max"},
    ),
)

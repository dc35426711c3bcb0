"""The catalogue entries of the memory tasks; imports no torch."""

from undertow import Lengths, TaskSpec
from undertow_tasks.memory.options import (
    AddingOptions,
    CopyOptions,
    RecallOptions,
    SelectiveCopyOptions,
    TemporalOrderOptions,
)

SPECS = (
    TaskSpec(
        name="adding",
        summary="Add the two marked numbers of a noisy sequence: one in each half, or as the dialect defines",
        factory="undertow_tasks.memory.adding:Adding",
        options=AddingOptions,
        paper="Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; halves: Arjovsky et al. 2016, "
        "arXiv 1511.06464; pascanu: Pascanu et al. 2013, arXiv 1211.5063",
        shape="many-to-one",
        lengths=Lengths(default=100, minimum=2),
    ),
    TaskSpec(
        name="copy",
        summary="Reproduce ten symbols, in order, after a long blank",
        factory="undertow_tasks.memory.copy:Copy",
        options=CopyOptions,
        paper="Arjovsky, Shah & Bengio 2016, arXiv 1511.06464; s4: Gu, Goel & Ré 2022, arXiv 2111.00396",
        shape="aligned",
        lengths=Lengths(default=120, minimum=21),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="selective-copy",
        summary="Reproduce ten symbols that were scattered among blanks, in order",
        factory="undertow_tasks.memory.selective_copy:SelectiveCopy",
        options=SelectiveCopyOptions,
        paper="Gu & Dao 2023, arXiv 2312.00752; Jing et al. 2019, arXiv 1706.02761",
        shape="aligned",
        lengths=Lengths(default=120, minimum=20),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="temporal-order",
        summary="Which two or three relevant symbols were among many irrelevant ones, in which order?",
        factory="undertow_tasks.memory.temporal_order:TemporalOrder",
        options=TemporalOrderOptions,
        paper="Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; Pascanu et al. 2013, arXiv 1211.5063",
        shape="many-to-one",
        lengths=Lengths(default=100, minimum=20),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="recall",
        summary="Pairs of key and value, then keys alone: what is the value of each? (MQAR)",
        factory="undertow_tasks.memory.recall:Recall",
        options=RecallOptions,
        paper="Arora et al. 2023, arXiv 2312.04927",
        shape="aligned",
        lengths=Lengths(default=64, minimum=16),
        metrics={"accuracy": "max"},
    ),
)

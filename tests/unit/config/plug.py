"""A scratch plugin with one of each kind that has options; nothing of it can be built."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from undertow import (
    BlockSpec,
    CallbackSpec,
    CellSpec,
    Lengths,
    OptimizerSpec,
    Options,
    ProbeSpec,
    TaskSpec,
    hookimpl,
)


class GatedOptions(Options):
    forget_bias: float = 1.0
    start: Literal["zero", "learned"] = "zero"
    span: tuple[int, int] = (1, 2)
    table: Path | None = None


class TunedOptions(Options):
    rates: dict[str, float] = {}  # noqa: RUF012  (pydantic copies it)


class TouchyOptions(Options):
    mood: str = "fine"

    @field_validator("mood")
    @classmethod
    def break_down(cls, mood):
        raise RuntimeError("not today")


class GaugeOptions(Options):
    lags: int = 32


class DescentOptions(Options):
    beta: float = 0.9


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="gated", summary="G.", factory="x:Y", state=("h", "c"), options=GatedOptions)
    yield CellSpec(name="plain", summary="P.", factory="x:Y", state=("h",))
    yield CellSpec(name="tuned", summary="T.", factory="x:Y", state=("h",), options=TunedOptions)
    yield CellSpec(name="touchy", summary="T.", factory="x:Y", state=("h",), options=TouchyOptions)


class WideOptions(Options):
    expand: int = 2


@hookimpl
def undertow_register_blocks():
    yield BlockSpec(name="wide", summary="W.", factory="x:Y", options=WideOptions)


@hookimpl
def undertow_register_tasks():
    yield TaskSpec(
        name="count",
        summary="C.",
        factory="x:Y",
        shape="many-to-one",
        lengths=Lengths(default=64, minimum=8, maximum=512),
        metrics={"accuracy": "max"},
    )


@hookimpl
def undertow_register_probes():
    yield ProbeSpec(name="gauge", summary="G.", factory="x:Y", options=GaugeOptions)


@hookimpl
def undertow_register_optimizers():
    yield OptimizerSpec(name="descent", summary="D.", factory="x:Y", options=DescentOptions, elementwise=True)
    yield OptimizerSpec(name="matrix-descent", summary="M.", factory="x:Y")


@hookimpl
def undertow_register_callbacks():
    yield CallbackSpec(name="watch", summary="W.", factory="x:Y", options=GaugeOptions)
    yield CallbackSpec(name="wait", summary="W.", factory="x:Y")

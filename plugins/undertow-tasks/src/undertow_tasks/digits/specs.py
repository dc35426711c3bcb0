"""The catalogue entries of the tasks over digits; imports no torch."""

from undertow import Lengths, TaskSpec
from undertow_tasks.digits.options import (
    DigitCaptionOptions,
    DigitsByPixelOptions,
    DigitVideoOptions,
    MnistByPixelOptions,
)

DATA = "Alpaydin & Kaynak 1998, doi 10.24432/C50P49"

SPECS = (
    TaskSpec(
        name="digits-by-pixel",
        summary="Scanned digits, one pixel a step, then blank steps up to the length: which digit was it?",
        factory="undertow_tasks.digits.digits_by_pixel:DigitsByPixel",
        options=DigitsByPixelOptions,
        paper=f"Le, Jaitly & Hinton 2015, arXiv 1504.00941; data: {DATA}",
        shape="many-to-one",
        lengths=Lengths(default=64, minimum=64),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="mnist-by-pixel",
        summary="MNIST, one pixel a step, then blank steps up to the length: which digit was it? Needs the data",
        factory="undertow_tasks.digits.mnist_by_pixel:MnistByPixel",
        options=MnistByPixelOptions,
        paper="Le, Jaitly & Hinton 2015, arXiv 1504.00941; data: LeCun et al. 1998, doi 10.1109/5.726791",
        shape="many-to-one",
        lengths=Lengths(default=784, minimum=196),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="digit-video",
        summary="Scanned digits move over a screen, with blank frames after each: which one was seen last?",
        factory="undertow_tasks.digits.digit_video:DigitVideo",
        options=DigitVideoOptions,
        paper=f"data: {DATA}",
        shape="aligned",
        lengths=Lengths(default=40, minimum=4),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="digit",
        summary="A scanned digit read in a single step: the control without time",
        factory="undertow_tasks.digits.digit:Digit",
        paper=f"data: {DATA}",
        shape="one-to-one",
        lengths=Lengths(default=1, maximum=1),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="digit-caption",
        summary="Read a scanned digit in one step, then write its name letter by letter, in English or Korean",
        factory="undertow_tasks.digits.digit_caption:DigitCaption",
        options=DigitCaptionOptions,
        paper=f"Vinyals et al. 2015, arXiv 1411.4555; data: {DATA}",
        shape="one-to-many",
        lengths=Lengths(default=6, minimum=6),
        metrics={"exact_match": "max"},
    ),
)

"""The options of the tasks over digits, under ``task.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options

Language = Literal["english", "korean"]


class DigitsByPixelOptions(Options):
    """Options of `digits-by-pixel`."""

    permuted: bool = False
    """Read the pixels in one fixed random order, which removes the image's local structure."""


class MnistByPixelOptions(Options):
    """Options of `mnist-by-pixel`; one of `folder` and `dataset` is needed."""

    folder: str = ""
    """A folder with MNIST's four files (train-images-idx3-ubyte and so on), gzipped or not."""

    dataset: str = ""
    """A Hugging Face dataset with the columns image and label, by name (ylecun/mnist) or as a folder."""

    side: Literal[14, 28] = 28
    """Pixels along each side: 28, or 14 for a sequence a quarter as long."""

    permuted: bool = False
    """Read the pixels in one fixed random order, which removes the image's local structure."""


class DigitVideoOptions(Options):
    """Options of `digit-video`."""

    digits: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of digits, one after the other."""

    shown: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of frames in which each digit is on screen, before blank frames."""


class DigitCaptionOptions(Options):
    """Options of `digit-caption`."""

    language: Language = "english"
    """Language of the names: zero to nine, or 영 to 구, letter by letter."""

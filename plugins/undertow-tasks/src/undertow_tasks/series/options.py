"""The options of the tasks over series, under ``task.options.<name>``; imports no torch."""

from undertow import Options


class UcrOptions(Options):
    """Options of `ucr`; one of `train` and `dataset` is needed."""

    train: str = ""
    """A .ts file with the series to train on."""

    test: str = ""
    """A .ts file with the series to test on; without it, a fifth of the training series."""

    dataset: str = ""
    """A dataset of the UCR or UEA archive by name, such as GunPoint, through the library aeon, instead of files."""

    resample: bool = False
    """Stretch or shrink each series to `length` steps by linear interpolation, instead of adding blank steps."""

"""What can be set on each task, under ``task.options.<name>``; imports no torch."""

from undertow import Options


class DigitsByPixelOptions(Options):
    """Options of `digits-by-pixel`."""

    permuted: bool = False
    """Show the pixels in one fixed random order, which takes the image's local structure away."""

"""Digit video: scanned digits that drift over a small screen, and leave it. B batch, T time, D digits, P pixels.

A frame with a digit is easy; a blank frame is asked all the same, and only who remembers can tell.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Batch, RequestError, Split, Vector, draws
from undertow_tasks.digits.options import DigitVideoOptions
from undertow_tasks.digits.scans import SIDE
from undertow_tasks.digits.task import DigitTask

SCREEN = 12
"""Pixels along each side of a frame."""
ROOM = SCREEN - SIDE
"""How far a digit can go along each side."""


class DigitVideo(DigitTask):
    """D digits, one after the other, each seen for some frames and then gone; every frame asks for the last one seen.

        frame    0 … shown-1   shown … T/D-1   T/D …
        input    a digit       blank           the next digit, and so on
        target   its class     its class       the next one's

    A digit starts anywhere, moves one pixel a frame along each axis, and bounces off the edges: with s the start,
    v = ±1 the way and R the room, it is at R - |((s + v t) mod 2R) - R|. If T is no multiple of D, the last digit has
    the frames that are left. A longer video has longer blanks: what it costs is memory alone.
    """

    shape = "aligned"
    inputs = Vector(SCREEN * SCREEN)

    def __init__(self, options: DigitVideoOptions, length: int, seed: int) -> None:
        super().__init__(options, length, seed)
        self.seed = seed
        if length < options.digits:
            raise RequestError(
                f"task `digit-video`: {options.digits} digits do not fit into {length} frames; set task.length to "
                f"{options.digits} or more, or task.options.digit-video.digits to {length} or less"
            )
        self._digits = options.digits
        span = length // options.digits
        self._digit_T = np.minimum(np.arange(length) // span, options.digits - 1)
        self._age_T = np.arange(length) - self._digit_T * span
        self._seen_T = self._age_T < options.shown

    def size(self, split: Split) -> None:
        """None: digits and their paths are drawn, and never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Frames `(B, T, 144)` and the digit last seen at each, `(B, T)`."""
        images_NP, labels_N = self.images(split)
        D = self._digits
        u_B5D = draws.uniforms(self.seed, f"digit-video/{split}", indices, 5 * D).reshape(-1, 5, D)
        which_BT = torch.from_numpy((u_B5D[:, 0] * len(labels_N)).astype(np.int64)[:, self._digit_T])
        row_BT, column_BT = (self._path(u_B5D[:, axis], u_B5D[:, axis + 2]) for axis in (1, 2))

        seen_S = torch.from_numpy(np.flatnonzero(self._seen_T))
        x_BTRC = torch.zeros(len(u_B5D), self.length, SCREEN, SCREEN)
        inside = torch.arange(SIDE)
        x_BTRC[
            torch.arange(len(u_B5D))[:, None, None, None],
            seen_S[:, None, None],
            row_BT[:, seen_S, None, None] + inside[:, None],
            column_BT[:, seen_S, None, None] + inside,
        ] = images_NP[which_BT[:, seen_S]].view(len(u_B5D), -1, SIDE, SIDE)
        return Batch(x_BTRC.flatten(2), labels_N[which_BT])

    def _path(self, start_BD: NDArray[np.float64], way_BD: NDArray[np.float64]) -> Tensor:
        """Where along one axis a digit is at each frame, `(B, T)`, in pixels."""
        start_BT = (start_BD * (ROOM + 1)).astype(np.int64)[:, self._digit_T]
        way_BT = np.where(way_BD < 0.5, -1, 1)[:, self._digit_T]
        return torch.from_numpy(ROOM - np.abs((start_BT + way_BT * self._age_T) % (2 * ROOM) - ROOM))

    def cues(self, batch: Batch) -> Tensor:
        """The frames that show the last digit, `(B, C)`."""
        last = self._seen_T & (self._digit_T == self._digits - 1)
        cues_C = torch.from_numpy(np.flatnonzero(last)).to(batch.target.device)
        return cues_C.expand(len(batch.target), len(cues_C))

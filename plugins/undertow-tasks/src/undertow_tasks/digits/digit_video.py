"""Digit video: scanned digits that move over a small screen and disappear. B batch, T time, D digits, P pixels.

Every frame has a target, the blank ones too: there the network has to remember the last digit.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from undertow import Batch, RequestError, Split, Vector, draws
from undertow_tasks.digits.options import DigitVideoOptions
from undertow_tasks.digits.scans import SIDE, SIZES
from undertow_tasks.digits.task import DigitTask

SCREEN = 12
"""Pixels along each side of a frame."""
ROOM = SCREEN - SIDE
"""How far a digit can move along each side, in pixels."""


class DigitVideo(DigitTask):
    """D digits, one after the other, each on screen for some frames; the target of a frame is the last digit seen.

        frame    0 … shown-1   shown … T/D-1   T/D …
        input    a digit       blank           the next digit, and so on
        target   its class     its class       the next one's

    A digit starts anywhere, moves one pixel a frame along each axis, and bounces off the edges: with s the start,
    v = ±1 the direction and R the room, it is at R - |((s + v t) mod 2R) - R|. If T is no multiple of D, the last digit
    has the frames that are left. A longer video has longer blanks, so it is harder only to remember.
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
        """None: digits and their paths are drawn at random and never run out."""
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

    def _path(self, start_BD: NDArray[np.float64], direction_BD: NDArray[np.float64]) -> Tensor:
        """The digit's position along one axis at each frame, `(B, T)`, in pixels, from two uniform numbers."""
        start_BT = (start_BD * (ROOM + 1)).astype(np.int64)[:, self._digit_T]
        direction_BT = np.where(direction_BD < 0.5, -1, 1)[:, self._digit_T]
        return torch.from_numpy(ROOM - np.abs((start_BT + direction_BT * self._age_T) % (2 * ROOM) - ROOM))

    def cues(self, batch: Batch) -> Tensor:
        """The last frame with a digit, `(B, 1)`: it determines the last answer, and no later frame does."""
        last = int(np.flatnonzero(self._seen_T)[-1])
        return torch.full((len(batch.target), 1), last, device=batch.target.device)

    def answer(self, input: Tensor) -> Tensor:
        """The digit last seen at each frame, `(B, T)`, of frames `(B, T, 144)` in any order; 0 before any was."""
        frame_NRC = input.flatten(0, 1).view(-1, SCREEN, SCREEN)  # N frames of all videos
        scans = [self.images(split) for split in SIZES]
        known_KP = _moved_to_corner(torch.cat([images_NP for images_NP, _ in scans]).view(-1, SIDE, SIDE))
        nearest_N = torch.cdist(_moved_to_corner(frame_NRC), known_KP).argmin(1)
        label_BT = torch.cat([labels_N for _, labels_N in scans])[nearest_N].view(input.shape[:2])
        step_T = torch.arange(input.shape[1])
        seen_BT = (input.ne(0).any(-1) * (step_T + 1)).cummax(1).values  # one past the last step with a digit; 0: none
        return label_BT.gather(1, (seen_BT - 1).clamp(min=0)).where(seen_BT > 0, 0)


def _moved_to_corner(image_NRC: Tensor) -> Tensor:
    """The ink of each image moved to the first row and column, `(N, 64)`."""
    padded_NRC = functional.pad(image_NRC, (0, SIDE, 0, SIDE))
    row_N1 = padded_NRC.ne(0).any(2).int().argmax(1, keepdim=True)
    column_N1 = padded_NRC.ne(0).any(1).int().argmax(1, keepdim=True)
    inside = torch.arange(SIDE)
    image_N = torch.arange(len(image_NRC))[:, None, None]
    return padded_NRC[image_N, (row_N1 + inside)[:, :, None], (column_N1 + inside)[:, None, :]].flatten(1)

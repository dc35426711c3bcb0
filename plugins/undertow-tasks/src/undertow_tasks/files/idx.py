"""IDX, the format of MNIST: a magic number, the sizes, then bytes; gzipped or not.

    images_NRC = read_idx("mnist/train-images-idx3-ubyte.gz", ndim=3, option="task.options.mnist-by-pixel.folder")

Byte 3 of the magic number is the type, 8 for unsigned bytes, and byte 4 the number of dimensions; sizes are 32 bits,
most significant byte first (LeCun, Cortes & Burges, "The MNIST database of handwritten digits").
"""

import gzip
import zlib

import numpy as np
from numpy.typing import NDArray

from undertow import RequestError
from undertow_tasks.files.text import read_bytes

_GZIPPED = b"\x1f\x8b"
_BYTES = 8


def read_idx(path: str, *, ndim: int, option: str) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes.

    Args:
        path: The file, from the working folder.
        ndim: The number of dimensions that it must have: 3 for images, 1 for labels.
        option: The option that named it.

    Raises:
        RequestError: The file cannot be read, is no such array, or has fewer or more bytes than its sizes say.
    """
    data = read_bytes(path, option)
    if data.startswith(_GZIPPED):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(f"{path}: cannot be unzipped: {error}; download the file again") from error
    expected = bytes([0, 0, _BYTES, ndim])
    if data[:4] != expected:
        raise RequestError(
            f"{path}: byte 0: starts with {data[:4].hex(' ')}, expected {expected.hex(' ')}: IDX, unsigned bytes in "
            f"{ndim} dimension{'s' if ndim > 1 else ''}; set {option} to the folder with the files as published"
        )
    start = 4 + 4 * ndim
    sizes = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    present = len(data) - start
    if present != int(np.prod(sizes)):
        raise RequestError(
            f"{path}: byte {start}: {' x '.join(map(str, sizes))} bytes were expected, {max(present, 0)} follow; "
            "download the file again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(sizes)

"""Read a whole text file as UTF-8; the error names the line that is not UTF-8."""

from pathlib import Path

from undertow import RequestError


def read_bytes(path: str, option: str) -> bytes:
    """The content of a file.

    Args:
        path: The file, from the working folder.
        option: The option that named it, for the message.

    Raises:
        RequestError: There is no such file, it cannot be read, or it is empty.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise RequestError(f"{path}: a folder, expected a file; set {option} to a file in it")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise RequestError(
            f"{path}: no such file; set {option} to a path from the working folder, {Path.cwd()}, or to an absolute one"
        ) from None
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}; {option} named it") from error
    if not data.strip():
        raise RequestError(f"{path}: the file is empty; set {option} to another file")
    return data


def read_text(path: str, option: str) -> str:
    """The text of a file, without a byte order mark; arguments as `read_bytes`.

    Raises:
        RequestError: As `read_bytes`, or the file is not UTF-8.
    """
    data = read_bytes(path, option)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RequestError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8, which was expected; "
            "save the file as UTF-8, such as with `iconv -f latin1 -t utf-8`"
        ) from error

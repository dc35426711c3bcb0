"""The tracebacks of a run, in one text file: each is appended below the earlier ones.

append_traceback(folder.path / "traceback.txt", error, "probe `cost` at step 100")
"""

import traceback
from datetime import datetime
from pathlib import Path


def append_traceback(path: Path, error: BaseException, heading: str) -> None:
    """Append the traceback of an exception, below a line with the time and a heading."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = "".join(traceback.format_exception(error))
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"--- {now}, {heading}\n{text}\n")

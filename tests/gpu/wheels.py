"""A virtual environment over the packages of this Python, with the missing ones from a folder: no network is needed.

    python3 tests/gpu/run.py --wheels FOLDER        # on a machine whose python3 has torch for its GPU

The folder has wheels of everything that Undertow needs and this Python lacks, and of hatchling, editables, pytest,
pytest-timeout and pytest-xdist.
"""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_FOR_BUILDING = ("hatchling", "editables")
_FOR_TESTS = ("pytest", "pytest-timeout", "pytest-xdist")


def continue_in_environment(wheels: Path) -> None:
    """Create `.venv-gpu`, and run this command again with its Python, without `--wheels`; does not return.

    Args:
        wheels: The folder.

    Raises:
        SystemExit: pip failed; it has said why.
    """
    place = _ROOT / ".venv-gpu"
    python = str(place / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels.absolute())]
    sources = [_ROOT, *sorted(path.parent for path in _ROOT.glob("plugins/undertow-*/pyproject.toml"))]
    shipped = [each for each in sources if each.name != "undertow-torchrecurrent"]  # it needs its own library
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--system-site-packages", str(place)],
        [*install, *_FOR_BUILDING, *_FOR_TESTS],
        [*install, "--no-build-isolation", *(word for each in shipped for word in ("--editable", str(each)))],
    ):
        if code := subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{' '.join(command[:4])} … ended with exit code {code}")
    words = iter(sys.argv)
    kept = []
    for word in words:
        if word == "--wheels":
            next(words)
        elif not word.startswith("--wheels="):
            kept.append(word)
    os.execv(python, [python, *kept])

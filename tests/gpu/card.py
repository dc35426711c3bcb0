"""The card that torch can use, as JSON on standard output, or why there is none; a process of its own.

    python tests/gpu/card.py                   # {"missing": "", "card": "NVIDIA H100 80GB HBM3", "cards": 1, …}

So the process that calls it holds no memory of the GPU while its parts run.
"""

import json
import platform
import shutil
import subprocess


def main() -> None:
    """Print what there is."""
    print(json.dumps(look()))


def look() -> dict[str, str | int | float]:
    """Facts about the first card and torch; `missing` is one sentence, empty if a card can be used."""
    facts: dict[str, str | int | float] = {"python": platform.python_version(), "driver": _driver()}
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its shared libraries is missing
        return facts | {"missing": f"torch cannot be imported ({error}): install torch with CUDA."}
    facts |= {"torch": str(torch.__version__), "cuda": torch.version.cuda or "none", "cards": torch.cuda.device_count()}
    if not torch.backends.cuda.is_built():
        return facts | {"missing": f"torch {torch.__version__} is built without CUDA: install a build with CUDA."}
    try:
        torch.ones(1, device="cuda").sum().item()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        return facts | {"missing": f"torch {torch.__version__} can use no CUDA device here ({reason})."}
    properties = torch.cuda.get_device_properties(0)
    return facts | {
        "missing": "",
        "card": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cudnn": torch.backends.cudnn.version() or 0,
    }


def _driver() -> str:
    """The version of the driver, from nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown: there is no nvidia-smi"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else f"unknown: nvidia-smi ended with exit code {done.returncode}"


if __name__ == "__main__":
    main()

"""The platform: `undertow.run` with everything that is on by default, timed by its own record's time stamps.

The platform's `cost/steps_per_second` leaves out probes and saving; a record's time stamps leave out nothing.
"""

import json
from pathlib import Path

import undertow
from benchmarks.setting import Setting
from undertow.tracking import start_shipper


def main() -> None:
    """Train, and report."""
    setting = Setting.from_command_line()
    home = Path("home").absolute()
    result = undertow.run(
        {
            "task": {"name": "adding", "length": setting.length},
            "cell": {"name": "lstm", "hidden_size": setting.hidden_size},
            "train": {
                "max_steps": setting.last,
                "batch_size": setting.batch_size,
                "devices": 1,
                "val_every": setting.last,
                "log_every": setting.log_every,
                "checkpoint": {"every": setting.save_every},
            },
            "probes": [{"name": "gradient-profile", "every": setting.profile_every}],
            "seed": setting.seed,
        },
        home=home,
        progress=False,
    )
    at: dict[int, float] = {}
    loss = float("nan")
    for line in (result.folder / "outbox.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        for name, value, step, milliseconds in record.get("rows", ()):
            if name == "train/loss":
                at[step], loss = milliseconds / 1e3, value
    start_shipper(home).close(timeout=60)  # it must not run beside the next contestant
    setting.report(at, loss)


if __name__ == "__main__":
    main()

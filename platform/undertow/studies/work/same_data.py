"""The data of a study: its trials with the same task and the same seed must see the same examples.

    require_same_data(study_folder, config, digest, allow_changed=False)

The first trial of a home records the digest of its data in the study's folder, and every later one compares its own:
a data file that is replaced while a study runs would otherwise go into one average with the old one. Each home
compares for itself: drivers on several machines have files of their own.
"""

import hashlib
import json
from pathlib import Path

from undertow._system.atomic import write_atomically, write_once
from undertow.config.schema import ExperimentConfig
from undertow.plugins.frozen import changed_code, require_same_code
from undertow.runs.code import CHANGED, DATASET


def require_same_data(study: Path, config: ExperimentConfig, digest: str, *, allow_changed: bool) -> dict[str, str]:
    """Compare the data of a trial with those of the first trial that had the same task and seed.

    Args:
        study: The study's own folder.
        config: The trial's configuration.
        digest: The digest of the trial's data.
        allow_changed: Accept other data, and compare later trials with these.

    Returns:
        Tags for the run, if there is a difference.

    Raises:
        RequestError: There is a difference, and it is not allowed.
    """
    same = json.dumps([config.task.model_dump(mode="json"), config.seed], sort_keys=True)
    path = study / "datasets" / hashlib.blake2b(same.encode(), digest_size=8).hexdigest()
    recorded, now = {DATASET: write_once(path, digest)}, {DATASET: digest}
    if not allow_changed:
        require_same_code(recorded, now, f"the study of {study.name}")
    if not (changes := changed_code(recorded, now)):
        return {}
    write_atomically(path, digest)
    return {CHANGED: "; ".join(changes)}

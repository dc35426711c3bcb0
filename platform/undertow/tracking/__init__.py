"""Tracking: a run never waits for the tracker, and no row is lost.

A training process appends to an *outbox*, a file in its run folder. A *shipper*, a second process, sends the records
to MLflow in batches while the run continues. Neither a server that is down nor a ``kill -9`` loses a row:

    home = home_folder()
    folder = RunFolder.create(home, "lstm-T256-s0", experiment="vanishing", uri=None, config_yaml="seed: 0\\n")
    shipper = start_shipper(home)
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags={"team": "waves"}, params={"cell.name": "lstm"}, description="How far?")
        outbox.metrics([("train/loss", 0.7, 10), ("gradient/h/by_lag", -3.2, 64)])
        outbox.artifact("config.yaml")
        outbox.status("FINISHED")
    folder.release()
    if not shipper.wait(folder, timeout=30):
        print(f"not shipped yet: {folder.progress().left} records; run `undertow sync`")
    shipper.close()

A run created with ``parent=folder.identity.uuid`` is a child of that run in MLflow, whichever of the two is shipped
first. ``outbox.experiment_tags`` sets tags of the experiment that all its runs share.

Files below one home (`./runs`, or the folder in `UNDERTOW_HOME`):

    mlflow.db, artifacts/          the store, unless `track.uri` or MLFLOW_TRACKING_URI names another
    shipper.log                    problems of the shipper, one line each
    lstm-T256-s0-3fa9c1/
        run.json, config.yaml      the run's identity and configuration; written once; a moved home stays valid
        outbox.jsonl               every record, in order, with its time
        cursor.json                how much of the outbox MLflow has stored, and the run's id in MLflow
        rejected.jsonl             records that MLflow will never accept, each with the reason
        lock                       held as long as the process lives
        checkpoints/, result.json  written by the run itself

Why no row is lost or doubled: a record is one `write` call, so a killed process leaves at most one incomplete line,
which the next writer removes. The cursor moves only after MLflow has stored a batch. A batch that is sent twice is
stored once, so delivery at least once has the effect of exactly once. A run whose process died has a free lock and no
final status; the shipper, or `undertow sync`, marks it as KILLED.
"""

from undertow.tracking.folder import Identity, Progress, RunFolder, home_folder, tracking_uri
from undertow.tracking.outbox import Outbox
from undertow.tracking.provenance import Provenance, provenance
from undertow.tracking.shipping.process import ShipperProcess, start_shipper
from undertow.tracking.shipping.sync import SyncResult, sync

__all__ = [
    "Identity",
    "Outbox",
    "Progress",
    "Provenance",
    "RunFolder",
    "ShipperProcess",
    "SyncResult",
    "home_folder",
    "provenance",
    "start_shipper",
    "sync",
    "tracking_uri",
]

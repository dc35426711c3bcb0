"""Tracking: a run never waits for the tracker, and no row is lost.

A training process appends to an *outbox*, a file in its run folder. A *shipper*, a process beside it, sends what is
there to MLflow in batches while the run goes on. Neither a server that is down nor a ``kill -9`` loses a row:

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

A run made with ``parent=folder.identity.uuid`` hangs below that one in MLflow, whichever of the two is shipped first.
``outbox.experiment_tags`` speaks to the experiment that all its runs share.

What is on disk, below one home (`./runs`, or where `UNDERTOW_HOME` points):

    mlflow.db, artifacts/          the store, unless `track.uri` or MLFLOW_TRACKING_URI names another
    shipper.log                    what went wrong, one line each
    lstm-T256-s0-3fa9c1/
        run.json, config.yaml      what the run is; written once
        outbox.jsonl               every record, in order, with its time; the truth
        cursor.json                how far MLflow has it, and under which run id
        rejected.jsonl             what MLflow will never take, each with the reason
        lock                       held for as long as the process lives
        checkpoints/, result.json  written by the run itself

Why it holds: a record is one `write` call, so a killed process leaves at most one torn line, which the next writer cuts
away. The cursor moves only after MLflow has stored a batch, and storing a batch twice stores it once, so delivery at
least once has the effect of exactly once. A run that died without a word leaves its lock free and no final status;
whoever ships it then says KILLED.
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

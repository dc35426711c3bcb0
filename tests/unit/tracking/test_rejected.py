"""Rejected records: only what the store can never accept is put into `rejected.jsonl`."""

import json
import logging
import os
from pathlib import Path

import pytest

from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.mlflow.errors import MaybeRejected, Rejected, RunBlocked, Unreachable
from undertow.tracking.mlflow.store import Store
from undertow.tracking.records import Item, Metric, Param
from undertow.tracking.shipping.delivery import Delivery

# With a real store


def test_a_record_that_cannot_be_stored_is_rejected_with_the_reason_and_the_rest_is_shipped(
    place, folder: RunFolder
) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, params={"cell.name": "lstm"})
    sync(place.path)
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("a", 1.0, step) for step in range(400)])
        outbox.params({"p": "1", "cell.name": "gru", "q": "2"})
        outbox.metrics([("b", 1.0, step) for step in range(400)])
    with folder.outbox.open("ab") as file:
        file.write(b'noise\n{"kind":"metrics","at":1,"rows":[["c?",1.0,1,1],["d",1.0,1,1]]}\n')
    with Outbox(folder.outbox) as outbox:
        outbox.status("FINISHED")
    [result] = sync(place.path)
    assert (result.left, result.rejected, result.error) == (0, 3, None)
    assert place.rows() == 801
    assert sorted(place.ask("select key, value from params")) == [("cell.name", "lstm"), ("p", "1"), ("q", "2")]
    assert place.statuses() == ["FINISHED"]
    reasons = [json.loads(line) for line in folder.rejected.read_text().splitlines()]
    assert "gru" in reasons[0]["item"]
    assert "not allowed" in reasons[0]["reason"]
    assert "not JSON" in reasons[1]["reason"]
    assert "c?" in reasons[2]["item"]


def test_a_missing_artifact_is_rejected_and_the_status_is_still_shipped(place, folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity)
        outbox.artifact("checkpoints/gone.ckpt")
        outbox.status("FAILED")
    [result] = sync(place.path)
    assert (result.rejected, result.left) == (1, 0)
    assert "gone.ckpt" in folder.rejected.read_text()
    assert place.statuses() == ["FAILED"]


def test_a_run_deleted_in_mlflow_is_blocked_and_other_runs_are_shipped(place, folder: RunFolder) -> None:
    place.write(folder, status=None)
    sync(place.path)
    place.client().delete_run(str(folder.progress().run_id))
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 0.1, 9999)])
        outbox.status("FINISHED")
    other = place.new_run("rnn-T256-s0")
    place.write(other, rows=10)
    other.release()
    by_name = {result.folder.name: result for result in sync(place.path)}
    assert "deleted in MLflow" in str(by_name[folder.path.name].error)
    assert by_name[folder.path.name].left == 2
    assert by_name[other.path.name].error is None
    assert not folder.rejected.exists()
    place.client().restore_run(str(folder.progress().run_id))
    [result] = sync(place.path)
    assert result.error is None
    assert place.rows() == 2511


def test_a_deleted_experiment_is_restored_for_a_new_run(place, folder: RunFolder) -> None:
    place.write(folder, rows=10)
    sync(place.path)
    [(experiment,)] = place.ask("select experiment_id from runs")
    place.client().delete_experiment(str(experiment))
    other = place.new_run("rnn-T256-s0")
    place.write(other, rows=10)
    other.release()
    [result] = sync(place.path)
    assert result.error is None
    assert place.ask("select name, lifecycle_stage from experiments where name = 'waves'") == [("waves", "active")]


# With a store that raises each error


class FailingStore(Store):
    """Stores in memory; raises the error that `refuse` returns for a batch."""

    def __init__(self, refuse) -> None:  # type: ignore[no-untyped-def]
        super().__init__("stub://", Path())
        self.refuse = refuse
        self.stored: list[Item] = []
        self.calls: list[int] = []

    def is_reachable(self) -> bool:
        return True

    def run_id(self, identity: object, started_at: int) -> str:
        return "r" * 32

    def require_writable(self, run_id: str) -> None:
        pass

    def delete_duplicates(self, identity: object, run_id: str) -> None:
        pass

    def store(self, run_id: str, items) -> None:  # type: ignore[no-untyped-def]
        self.calls.append(len(items))
        if error := self.refuse(self, items):
            raise error
        self.stored += items


@pytest.fixture
def thousand(folder: RunFolder) -> RunFolder:
    with Outbox(folder.outbox) as outbox:
        for step in range(1000):
            outbox.metrics([("m", 1.0, step)])
    return folder


def test_the_rejected_record_is_found_by_bisection(thousand: RunFolder) -> None:
    store = FailingStore(lambda _, items: Rejected("no 617") if any(i.step == 617 for i in items) else None)
    Delivery(thousand, store).ship()
    assert [item.step for item in store.stored if isinstance(item, Metric)] == [s for s in range(1000) if s != 617]
    assert len(store.calls) <= 2 * 11
    [line] = thousand.rejected.read_text().splitlines()
    assert "step=617" in line
    assert thousand.shipped


def test_an_unreachable_store_does_not_move_the_cursor(thousand: RunFolder) -> None:
    store = FailingStore(lambda store, items: Unreachable("down") if len(store.calls) < 3 else None)
    delivery = Delivery(thousand, store)
    for _ in range(2):
        with pytest.raises(Unreachable):
            delivery.ship()
        assert thousand.progress().left == 1000
    delivery.ship()
    assert thousand.shipped
    assert not thousand.rejected.exists()


def test_a_slow_store_gets_smaller_batches(thousand: RunFolder) -> None:
    store = FailingStore(lambda _, items: Unreachable("timeout") if len(items) > 130 else None)
    delivery = Delivery(thousand, store)
    for _ in range(30):
        try:
            delivery.ship()
            break
        except Unreachable:
            continue
    assert [item.step for item in store.stored if isinstance(item, Metric)] == list(range(1000))


def test_a_store_that_was_down_for_long_gets_large_batches_again(thousand: RunFolder) -> None:
    store = FailingStore(lambda store, items: Unreachable("down") if len(store.calls) <= 12 else None)
    delivery = Delivery(thousand, store)
    for _ in range(12):
        with pytest.raises(Unreachable):
            delivery.ship()
    delivery.ship()
    assert len(store.stored) == 1000
    assert len(store.calls) < 12 + 10


def test_a_record_that_may_be_accepted_later_is_rejected_after_the_last_attempt(thousand: RunFolder) -> None:
    def refuse(_: FailingStore, items: list[Metric]) -> MaybeRejected | None:
        return MaybeRejected("BAD_REQUEST") if any(item.step == 0 for item in items) else None

    delivery = Delivery(thousand, FailingStore(refuse), attempts=3)
    for _ in range(2):
        with pytest.raises(Unreachable):
            delivery.ship()
    assert not thousand.rejected.exists()
    delivery.ship()
    assert thousand.progress().rejected == 1
    assert thousand.shipped


def test_one_bad_parameter_among_many_is_the_only_one_rejected(folder: RunFolder) -> None:
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, params={f"p{number}": "x" for number in range(90)})
    store = FailingStore(lambda _, items: Rejected("no") if any(item.key == "p40" for item in items) else None)
    Delivery(folder, store).ship()
    assert {item.key for item in store.stored if isinstance(item, Param)} == {f"p{n}" for n in range(90)} - {"p40"}


def test_a_blocked_run_is_not_split_and_not_rejected(thousand: RunFolder) -> None:
    class Deleted(FailingStore):
        def require_writable(self, run_id: str) -> None:
            raise RunBlocked("deleted")

    delivery = Delivery(thousand, Deleted(lambda store, items: Rejected("inactive")))
    with pytest.raises(RunBlocked):
        delivery.ship()
    assert not thousand.rejected.exists()
    assert thousand.progress().left == 1000


def test_a_store_leaves_the_environment_and_the_log_levels_of_its_process_alone(
    place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads of the process may use MLflow, and log."""
    seen = []
    store = Store(f"sqlite:///{place.path / 'mlflow.db'}", place.path / "artifacts")
    logging.disable(logging.NOTSET)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    store.require_reachable()
    client = store._client
    assert client is not None

    def search_experiments(**_: object) -> list[object]:
        seen.append((os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], logging.root.manager.disable))
        return []

    monkeypatch.setattr(client, "search_experiments", search_experiments)
    store.require_reachable()
    assert seen == [("7", logging.NOTSET)]

"""Parents and children: a child is shipped below its parent, and does not wait for a parent that is never shipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertow.tracking import Outbox, RunFolder, sync
from undertow.tracking.mlflow.errors import ParentMissing
from undertow.tracking.mlflow.store import Store
from undertow.tracking.shipping.cursor import Cursor


@pytest.fixture
def family(place) -> Iterator[tuple[RunFolder, RunFolder]]:
    """A parent that is alive and has no records yet, and a finished child that is sorted before it."""
    parent = place.new_run("study")
    child = place.new_run("lstm-T256-s0", parent=parent.identity.uuid)
    place.write(child, rows=10)
    child.release()
    yield parent, child
    parent.release()


def parent_of(place, child: RunFolder) -> object:
    """The name of a run's parent in MLflow; None if it has none."""
    of_child = f"select run_uuid from tags where key = 'undertow.run' and value = '{child.identity.uuid}'"
    of_parent = f"select value from tags where key = 'mlflow.parentRunId' and run_uuid in ({of_child})"
    found = place.ask(f"select name from runs where run_uuid in ({of_parent})")
    return found[0][0] if found else None


def test_a_child_is_below_its_parent_whichever_is_shipped_first(place, family: tuple[RunFolder, RunFolder]) -> None:
    parent, child = family
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    late = place.new_run("zgru-T256-s0", parent=parent.identity.uuid)
    place.write(late, rows=10)
    late.release()
    assert [result.error for result in sync(place.path)] == [None] * 3
    assert parent_of(place, child) == parent_of(place, late) == "study"
    assert parent_of(place, parent) is None


def test_a_child_waits_for_a_parent_that_is_alive_and_has_no_records_yet(
    place, family: tuple[RunFolder, RunFolder]
) -> None:
    parent, child = family
    with pytest.raises(ParentMissing):
        place.delivery(child).ship()
    [result] = sync(place.path)
    assert (result.folder, result.left) == (child.path, child.progress().left)
    assert parent.identity.uuid in str(result.error)
    assert place.statuses() == []
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    assert [result.error for result in sync(place.path)] == [None] * 2
    assert parent_of(place, child) == "study"


@pytest.mark.parametrize("case", ["no records", "folder deleted", "store deleted", "another experiment"])
def test_a_child_does_not_wait_for_a_parent_that_is_never_shipped(
    place, family: tuple[RunFolder, RunFolder], empty_store: Path, case: str
) -> None:
    parent, child = family
    if case == "another experiment":
        child = place.new_run("lstm-T512-s0", parent=parent.identity.uuid, experiment="tides")
        place.write(child, rows=10)
        child.release()
    elif case == "folder deleted":
        shutil.rmtree(parent.path)
    elif case == "store deleted":
        with Outbox(parent.outbox) as outbox:
            outbox.start(parent.identity)
            outbox.status("FINISHED")
        sync(parent.path)
        shutil.copy(empty_store, place.path / "mlflow.db")
    parent.release()
    [result] = sync(child.path)
    assert (result.left, result.error) == (0, None)
    assert parent_of(place, child) is None


def test_a_parent_without_a_folder_is_found_in_the_store(place, family: tuple[RunFolder, RunFolder]) -> None:
    parent, child = family
    with Outbox(parent.outbox) as outbox:
        outbox.start(parent.identity)
    sync(parent.path)
    shutil.rmtree(parent.path)
    sync(place.path)
    assert parent_of(place, child) == "study"


def test_two_writers_of_one_run_end_with_one_run_and_all_its_children(
    place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both created the run at the same moment; the older one is kept, whichever writer ends first."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uri = f"sqlite:///{place.path / 'mlflow.db'}"
    writers = [place.new_run("study", uuid="5" * 32)]
    writers.append(RunFolder.create(elsewhere, "study", experiment="waves", uri=uri, config_yaml="", uuid="5" * 32))
    store = Store(uri, place.path / "artifacts")
    client = place.client()
    older = store.run_id(writers[0].identity, 1000)
    duplicate = client.create_run("1", start_time=2000, run_name="study", tags={"undertow.run": "5" * 32}).info.run_id
    Cursor(0, duplicate).save(writers[1].cursor)
    child = client.create_run("1", tags={"mlflow.parentRunId": duplicate}).info.run_id
    for number, writer in enumerate(writers):
        with Outbox(writer.outbox) as outbox:
            outbox.start(writer.identity, tags={f"writer.{number}": "was here"})
            outbox.status("FINISHED")
        writer.release()
    for home in (elsewhere, place.path, elsewhere):
        sync(home)
    assert place.ask("select run_uuid, status from runs where name = 'study' and lifecycle_stage = 'active'") == [
        (older, "FINISHED")
    ]
    kept = client.get_run(older).data.tags
    assert (kept["writer.0"], kept["writer.1"]) == ("was here", "was here")
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == older
    assert [writer.progress().run_id for writer in writers] == [older, older]

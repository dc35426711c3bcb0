"""Batches: an outbox is split into requests within the limits of MLflow."""

import json
from collections.abc import Callable

import pytest

from undertow.tracking import Outbox, RunFolder
from undertow.tracking.records import Artifact, BadRecord, Metric, Param, StatusChange, Tag
from undertow.tracking.shipping.batch import Entry, batches, read_tail


def entries_of(folder: RunFolder, write: Callable[[Outbox], None]) -> list[Entry]:
    with Outbox(folder.outbox) as outbox:
        write(outbox)
    return read_tail(folder.outbox, 0)


def test_batches_are_within_the_limits_of_one_request_and_lose_nothing(folder: RunFolder) -> None:
    def write(outbox: Outbox) -> None:
        outbox.start(
            folder.identity, tags={f"t{i}": "x" for i in range(250)}, params={f"p{i}": "x" for i in range(250)}
        )
        outbox.metrics([("m", 1.0, step) for step in range(2500)])
        outbox.params({f"long{i}": "é" * 6000 for i in range(60)})

    entries = entries_of(folder, write)
    made = list(batches(entries))
    for batch in made:
        found = [entry.item for entry in batch]
        assert len(found) <= 1000
        assert sum(isinstance(item, Param) for item in found) <= 100
        assert sum(isinstance(item, Tag) for item in found) <= 100
        assert len(json.dumps([vars(item) for item in found])) < 1_000_000
    assert [entry for batch in made for entry in batch] == entries
    assert sum(isinstance(entry.item, Metric) for entry in entries) == 2500
    assert len(made) <= 10


def test_consecutive_records_share_a_request_but_a_status_and_a_repeated_key_do_not(folder: RunFolder) -> None:
    def write(outbox: Outbox) -> None:
        for step in range(10):
            outbox.metrics([("m", 1.0, step)])
        outbox.tags({"a": "1"})
        outbox.tags({"a": "2"})
        outbox.status("FINISHED")
        outbox.metrics([("m", 1.0, 11)])

    made = list(batches(entries_of(folder, write)))
    assert [len(batch) for batch in made] == [11, 1, 1, 1]
    assert isinstance(made[2][0].item, StatusChange)


def test_artifacts_follow_the_request_that_they_would_divide_and_the_cursor_does_not_pass_them(
    folder: RunFolder,
) -> None:
    def write(outbox: Outbox) -> None:
        outbox.tags({"a": "1"})
        outbox.artifact("config.yaml")
        outbox.metrics([("m", 1.0, 1), ("m", 1.0, 2)])
        outbox.artifact("report.html")
        outbox.params({"b": "1"})
        outbox.status("FINISHED")

    tag, first, row, second_row, second, param, status = entries_of(folder, write)
    made = list(batches([tag, first, row, second_row, second, param, status]))
    assert [[entry.item for entry in batch] for batch in made] == [
        [tag.item, row.item, second_row.item, param.item],
        [Artifact("config.yaml", "")],
        [Artifact("report.html", "")],
        [StatusChange("FINISHED", status.item.at)],
    ]
    ends = [[entry.end for entry in batch] for batch in made]
    assert ends == [[tag.end, None, first.at, first.at], [second.at], [param.end], [status.end]]


def test_an_artifact_by_itself_is_a_batch(folder: RunFolder) -> None:
    entries = entries_of(folder, lambda outbox: outbox.artifact("config.yaml"))
    assert list(batches(entries)) == [entries]


def test_only_the_last_entry_of_a_record_moves_the_cursor(folder: RunFolder) -> None:
    entries = entries_of(folder, lambda outbox: outbox.metrics([("m", 1.0, step) for step in range(3)]))
    assert [entry.end for entry in entries] == [None, None, folder.outbox.stat().st_size]


def test_an_incomplete_last_line_is_not_read_and_an_unreadable_line_is_an_error_entry(folder: RunFolder) -> None:
    folder.outbox.write_bytes(b'{"kind":"dance","at":1}\nnoise\n{"kind":"tags","at":1,"tags":{"a":"1"}}\n{"kind":"ta')
    dance, noise, tag = read_tail(folder.outbox, 0)
    assert isinstance(dance.item, BadRecord)
    assert "dance" in str(dance.item)
    assert isinstance(noise.item, BadRecord)
    assert tag.item == Tag("a", "1")


@pytest.mark.parametrize(
    "row",
    [
        *('["a",0.5,1e999,1]', '["a",0.5,NaN,1]', '["a",0.5,true,1]', '["a",0.5,"1",1]', '["a",0.5,1.5,1]'),
        *(
            '["a",0.5,9223372036854775808,1]',
            '["a",0.5,1,1e999]',
            '["a",0.5,1,null]',
            '["a",0.5,1,-9223372036854775809]',
        ),
        *('["a",1e999,1,1]', '["a",NaN,1,1]', '["a",true,1,1]', '["a","0.5",1,1]', f'["a",1{"0" * 400},1,1]'),
        *('["a",0.5,1]', '["a",0.5,1,1,1]', "5", "[" * 100_000),
    ],
)
def test_a_number_that_no_store_accepts_is_an_error_entry(folder: RunFolder, row: str) -> None:
    folder.outbox.write_text(
        f'{{"kind":"metrics","at":1,"rows":[{row}]}}\n{{"kind":"tags","at":1,"tags":{{"a":"1"}}}}\n'
    )
    bad, tag = read_tail(folder.outbox, 0)
    assert isinstance(bad.item, BadRecord)
    assert tag.item == Tag("a", "1")


def test_a_time_that_no_store_accepts_is_an_error_entry(folder: RunFolder) -> None:
    folder.outbox.write_text('{"kind":"status","status":"FINISHED","at":1e999}\n')
    (bad,) = read_tail(folder.outbox, 0)
    assert isinstance(bad.item, BadRecord)


def test_a_record_longer_than_a_chunk_is_read_whole(folder: RunFolder) -> None:
    entries = entries_of(folder, lambda outbox: outbox.metrics([("m", 1.0, step) for step in range(60_000)]))
    assert folder.outbox.stat().st_size > 1 << 20
    assert len(entries) == 60_000


def test_text_is_shortened_to_what_every_store_accepts(folder: RunFolder) -> None:
    names = ["n" * 300, "n" * 299 + "m"]

    def write(outbox: Outbox) -> None:
        outbox.params({"p": "x" * 7000, "q": "a\0b\ud800c"})
        outbox.tags({"t": "y" * 9000, names[0]: "1", names[1]: "2"})

    p, q, t, first, second = (entry.item for entry in entries_of(folder, write))
    assert isinstance(p, Param)
    assert isinstance(t, Tag)
    assert (len(p.value), p.value[-1]) == (6000, "…")
    assert (len(t.value), t.value[-1]) == (8000, "…")
    assert isinstance(q, Param)
    assert "\0" not in q.value
    assert q.value.encode("utf-8")
    assert isinstance(first, Tag)
    assert isinstance(second, Tag)
    assert len(first.key) == len(second.key) == 250
    assert first.key != second.key

"""Reading the user's data: rows, text, arrays, series and Hugging Face datasets, and the error for each fault."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from undertow import RequestError
from undertow_tasks.files.hub import hub_rows, hub_splits
from undertow_tasks.files.idx import read_idx
from undertow_tasks.files.rows import read_rows
from undertow_tasks.files.text import read_text
from undertow_tasks.files.ts import read_ts

COLUMNS = {"text": "task.options.t.text", "label": "task.options.t.label"}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(name: str, content: str | bytes, header: bool = True) -> list[tuple[str, str, str]]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_rows(name, COLUMNS, option="task.options.t.train", header=header)
    return [(row.at, row["text"], row["label"]) for row in found]


def refusal(name: str, content: str | bytes, header: bool = True) -> str:
    with pytest.raises(RequestError) as refused:
        rows(name, content, header)
    return str(refused.value)


def test_csv_rows_have_the_line_where_they_start() -> None:
    content = 'label,text\r\n1,plain\r\n0,"two\nlines, ""quoted"""\r\n\r\n1,last'
    assert rows("a.csv", content) == [
        ("a.csv:2", "plain", "1"),
        ("a.csv:3", 'two\nlines, "quoted"', "0"),
        ("a.csv:6", "last", "1"),
    ]


def test_tsv_keeps_quotes_and_takes_columns_in_order_without_a_header() -> None:
    assert rows("a.tsv", 'text\tlabel\nsay "no\t0\n') == [("a.tsv:2", 'say "no', "0")]
    assert rows("a.tsv", "나는 집에 간다\t1\tfrom a friend\n", header=False) == [("a.tsv:1", "나는 집에 간다", "1")]


def test_json_lines_give_numbers_and_booleans_as_json_writes_them() -> None:
    content = '{"text": "a\\nb", "label": 1}\n\n{"text": "c", "label": true, "more": []}\n'
    assert rows("a.jsonl", content) == [("a.jsonl:1", "a\nb", "1"), ("a.jsonl:3", "c", "true")]


def test_byte_order_mark_is_not_part_of_the_first_column() -> None:
    assert rows("a.csv", b"\xef\xbb\xbftext,label\nx,1\n") == [("a.csv:2", "x", "1")]


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", "", ["a.csv: the file is empty", "set task.options.t.train"]),
        ("a.csv", " \n\n", ["a.csv: the file is empty"]),
        ("a.csv", "text,label\n", ["a.csv: names columns but has no rows", "task.options.t.train"]),
        ("a.csv", "text,mood\nx,1\n", ["a.csv:1: no column `label`", "`text`, `mood`", "set task.options.t.label"]),
        ("a.csv", "text,label,label\nx,1,1\n", ["a.csv:1: 2 columns are called `label`"]),
        ("a.csv", "text,label\nx,1\ny\n", ["a.csv:3: 1 columns, expected 2: text, label"]),
        ("a.csv", "text,label\nx,1\ny,z,0\n", ["a.csv:3: 3 columns, expected 2"]),
        ("a.csv", "text,label\nx,1\ny,\n", ["a.csv:3: column `label` is empty", "fill it in"]),
        ("a.csv", "text,label\nx,1\n,0\n", ["a.csv:3: column `text` is empty"]),
        ("a.csv", 'text,label\nx,1\n"y"z,0\n', ["a.csv:3: not CSV", "quote"]),
        ("a.csv", 'text,label\nx,1\n"y,0\n', ["a.csv:3: not CSV"]),
        ("a.csv", b"text,label\nx,1\ncaf\xe9,0\n", ["a.csv:3: byte 0xe9 is not UTF-8", "iconv"]),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "y"}\n', ["a.jsonl:2: no column `label`", "`text`"]),
        (
            "a.jsonl",
            '{"text": "x", "label": 1}\n{"text": "y", "label": null}\n',
            ["a.jsonl:2: column `label` is empty"],
        ),
        ("a.jsonl", '{"text": "x", "label": [1]}\n', ["a.jsonl:1: column `label` holds a list"]),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": }\n', ["a.jsonl:2: not JSON", "column 10"]),
        ("a.jsonl", '["x", 1]\n', ["a.jsonl:1: a JSON list", "expected one object a line"]),
        ("a.xlsx", "x", ["a.xlsx: unknown format `.xlsx`", ".csv, .tsv, .jsonl, .ndjson"]),
    ],
)
def test_fault_in_rows_is_refused_with_file_line_and_remedy(name: str, content: str | bytes, parts: list[str]) -> None:
    message = refusal(name, content)
    for part in parts:
        assert part in message


def test_row_that_is_too_short_is_refused_without_a_header_too() -> None:
    assert "a.tsv:2: 1 columns, expected 2" in refusal("a.tsv", "x\t1\ny\n", header=False)


def test_missing_file_is_refused_with_the_working_folder(in_a_folder: Path) -> None:
    with pytest.raises(RequestError, match="no such file") as refused:
        read_text("nowhere.txt", "task.options.t.file")
    for part in ("nowhere.txt: ", "set task.options.t.file", str(in_a_folder)):
        assert part in str(refused.value)


def test_folder_in_place_of_a_file_is_refused(in_a_folder: Path) -> None:
    with pytest.raises(RequestError, match=r"a folder, expected a file; set task\.options\.t\.file"):
        read_text(str(in_a_folder), "task.options.t.file")


def test_tilde_is_the_home_folder(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(in_a_folder))
    Path("here.txt").write_text("hello")
    assert read_text("~/here.txt", "task.options.t.file") == "hello"


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """IDX, written out from its definition."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_idx_file_is_read(pack) -> None:
    Path("a").write_bytes(pack(idx(IMAGES)))
    assert np.array_equal(read_idx("a", ndim=3, option="o"), IMAGES)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (idx(IMAGES)[:-1], ["a: byte 16: 2 x 3 x 4 bytes were expected, 23 follow"]),
        (idx(IMAGES) + b"x", ["25 follow"]),
        (idx(IMAGES)[:7], ["0 follow"]),
        (idx(IMAGES[0]), ["a: byte 0: starts with 00 00 08 02, expected 00 00 08 03", "set o to"]),
        (idx(IMAGES, kind=13), ["starts with 00 00 0d 03"]),
        (gzip.compress(idx(IMAGES), mtime=0)[:-12], ["a: cannot be unzipped"]),
        (b"", ["a: the file is empty"]),
    ],
)
def test_fault_in_an_idx_file_is_refused_with_its_place(content: bytes, parts: list[str]) -> None:
    Path("a").write_bytes(content)
    with pytest.raises(RequestError) as refused:
        read_idx("a", ndim=3, option="o")
    for part in parts:
        assert part in str(refused.value)


HEADER = "#a comment, or\n% another\n@problemName Walks\n@timeStamps false\n@classLabel true walk run\n@data\n"


def test_series_have_channels_a_class_and_a_line() -> None:
    Path("a.ts").write_text(HEADER + "1,2,3:4,5,6:walk\n\n7,8: 9 , 1e1 :run\n")
    one, other = read_ts("a.ts", "o")
    assert (one.at, one.label, one.values.tolist()) == ("a.ts:7", "walk", [[1, 4], [2, 5], [3, 6]])
    assert (other.at, other.label, other.values.tolist()) == ("a.ts:9", "run", [[7, 9], [8, 10]])


def test_missing_value_is_interpolated_between_its_neighbours_in_time() -> None:
    Path("a.ts").write_text(HEADER + "?,1,?,NaN,4,?:run\n")
    assert read_ts("a.ts", "o")[0].values[:, 0].tolist() == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (HEADER + "1,2,3\n", "a.ts:7: a series without a class"),
        (HEADER + "1,2,3:\n", "a.ts:7: a series without a class"),
        (HEADER + "1,2:walk\n1,2:swim\n", "a.ts:8: class `swim` is not one of the header's: walk, run"),
        (HEADER + "1,2:3:walk\n", "a.ts:7: channels of 2, 1 steps"),
        (HEADER + "1,2:walk\n1,2:3,4:walk\n", "a.ts:8: 2 channels, but 1 at a.ts:7"),
        (HEADER + "1,2:3,x:walk\n", "a.ts:7: channel 1, step 1: `x` is no number"),
        (HEADER + "1,inf:walk\n", "a.ts:7: channel 0: an infinite value"),
        (HEADER + "?,?:walk\n", "a.ts:7: channel 0: every value is missing"),
        (HEADER, "a.ts: no series after a line `@data`; set o to"),
        ("@problemName x\n1,2:a\n", "a.ts:2: a series before the line `@data`"),
        ("@timeStamps true\n@data\n", "a.ts:1: series with time stamps"),
        ("@classLabel false\n@data\n", "a.ts:1: series without classes"),
        ("@targetLabel true\n@data\n", "a.ts:1: series with a number to be predicted"),
    ],
)
def test_fault_in_series_is_refused_with_file_and_line(content: str, part: str) -> None:
    Path("a.ts").write_text(content)
    with pytest.raises(RequestError) as refused:
        read_ts("a.ts", "o")
    assert part in str(refused.value)


def test_missing_datasets_library_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RequestError, match=r"pip install 'undertow-tasks\[data\]'"):
        hub_splits("imdb", "task.options.t.dataset")


@pytest.fixture
def datasets(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The library, with its cache in the test's folder and without network access."""
    library = pytest.importorskip("datasets", reason="the extra `data` is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", in_a_folder / "cache")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    library.disable_progress_bars()
    yield library
    library.enable_progress_bars()


def labelled(datasets, labels: list[int]):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    return datasets.Dataset.from_dict({"text": [f"text {y}" for y in labels], "label": labels}, features=features)


def test_saved_dataset_gives_class_names_and_leaves_out_a_split_without_labels(datasets) -> None:
    splits = {"train": labelled(datasets, [0, 1, 1]), "dev": labelled(datasets, [1]), "test": labelled(datasets, [-1])}
    datasets.DatasetDict(splits).save_to_disk("saved")
    found = hub_rows("saved", COLUMNS, option="o")
    assert {split: [(row.at, row["text"], row["label"]) for row in rows] for split, rows in found.items()} == {
        "train": [
            ("saved[train]:0", "text 0", "neg"),
            ("saved[train]:1", "text 1", "pos"),
            ("saved[train]:2", "text 1", "pos"),
        ],
        "val": [("saved[val]:0", "text 1", "pos")],
    }


def test_single_dataset_is_the_training_split(datasets) -> None:
    labelled(datasets, [0, 1]).save_to_disk("saved")
    assert list(hub_splits("saved", "o")) == ["train"]


def test_folder_of_parquet_files_is_a_dataset(datasets) -> None:
    for name, labels in (("train", [0, 1]), ("validation", [1])):
        labelled(datasets, labels).to_parquet(f"parquet/{name}.parquet")
    found = hub_rows("parquet", COLUMNS, option="o")
    assert {split: [row["label"] for row in rows] for split, rows in found.items()} == {
        "train": ["neg", "pos"],
        "val": ["pos"],
    }


def test_fault_in_a_dataset_is_refused_with_its_place(datasets) -> None:
    datasets.DatasetDict({"train": labelled(datasets, [0, -1])}).save_to_disk("partly")
    with pytest.raises(RequestError, match=r"partly\[train\]:1: column `label` is empty"):
        hub_rows("partly", COLUMNS, option="o")
    with pytest.raises(RequestError, match=r"partly\[train\]: no column `words`.*`text`, `label`: set the\.option"):
        hub_rows("partly", {"words": "the.option"}, option="o")
    datasets.DatasetDict({"all": labelled(datasets, [0, 1])}).save_to_disk("whole")
    with pytest.raises(RequestError, match=r"o: dataset `whole` has no split `train`; there is all"):
        hub_rows("whole", COLUMNS, option="o")
    with pytest.raises(RequestError, match=r"o: cannot read dataset `nobody/nothing`"):
        hub_rows("nobody/nothing", COLUMNS, option="o")


def test_reading_files_imports_no_torch() -> None:
    modules = [*(f"undertow_tasks.files.{name}" for name in ("hub", "idx", "rows", "text", "ts"))]
    modules.append("undertow_tasks.text.sources")
    code = f"import sys, {', '.join(modules)}; print(sorted({{'torch', 'datasets'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

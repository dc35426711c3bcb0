"""Translation: the generated sentences, the user's own, and how they are encoded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot
from torchmetrics.text import BLEUScore

from undertow import RequestError
from undertow_tasks.text.bleu import Bleu
from undertow_tasks.text.options import TranslationOptions
from undertow_tasks.text.pairs import pairs
from undertow_tasks.text.sentences import HELD, LONGEST, sentences
from undertow_tasks.text.tokens import FIRST, PAD, UNKNOWN, words_of
from undertow_tasks.text.translation import Translation
from undertow_tasks.writing import END

SPLITS = ("train", "val", "test")
ROWS = [(f"I go {n}", f"나는 {n} 간다") for n in range(40)]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def task(length: int = 16, **options) -> Translation:
    return Translation(TranslationOptions(**options), length, 0)


def everything(of: Translation, split: str):
    return of.batch(split, np.arange(of.size(split)))


def write(name: str, rows: list[tuple[str, str]], header: str = "en\tko\n") -> str:
    """Write a file; each test has its own folder, since a path is read only once per process."""
    path = Path.cwd() / name
    path.write_text(header + "".join(f"{one}\t{other}\n" for one, other in rows))
    return str(path)


def decode(of: Translation, options: TranslationOptions, split: str, index: int) -> tuple[str, str]:
    data = pairs(options)
    batch = of.batch(split, np.array([index]))
    source = [data.source.tokens[symbol - FIRST] for symbol in batch.input[0].tolist() if symbol != PAD]
    target = [data.target.tokens[symbol - FIRST] for symbol in batch.target[0].tolist() if symbol != END]
    return " ".join(source), " ".join(target)


def test_i_go_home_is_among_the_generated_sentences() -> None:
    korean = dict(pair for split in SPLITS for pair in sentences(split))
    assert korean["I go home"] == "나는 집에 간다"
    assert korean["she does not go home with a friend today"] == "그녀는 오늘 친구와 집에 가지 않는다"
    assert korean["my friend reads a book"] == "내 친구는 책을 읽는다"


def test_generated_sentences_are_all_different_and_short_enough() -> None:
    english = [one for split in SPLITS for one, _ in sentences(split)]
    assert len(set(english)) == len(english)
    assert {split: len(sentences(split)) for split in HELD} == HELD
    assert max(len(words_of(one)) for one in english) == LONGEST


def test_validation_has_unseen_sentences_of_seen_words() -> None:
    batch = everything(task(), "val")
    assert not (batch.input == UNKNOWN).any()
    assert not (batch.target == UNKNOWN).any()


def test_pads_are_in_front_and_end_symbols_behind() -> None:
    options = TranslationOptions()
    of = task()
    for split in SPLITS:
        for index in (0, 17, 171):
            english, korean = sentences(split)[index]
            assert decode(of, options, split, index) == (english.lower(), korean)
    batch = everything(of, "val")
    pad, end = batch.input == PAD, batch.target == END
    assert (pad[:, :-1] >= pad[:, 1:]).all()
    assert not pad[:, -1].any()
    assert (end[:, :-1] <= end[:, 1:]).all()
    assert end[:, -1].all()


def test_long_sentence_keeps_its_end() -> None:
    batch, short = everything(task(), "val"), everything(task(4), "val")
    assert torch.equal(batch.input[:, -4:], short.input)
    assert torch.equal(batch.target, short.target)


def test_translation_counts_up_to_its_end_symbol() -> None:
    of = task()
    batch = everything(of, "val")
    assert of.supervised(batch).sum(1).tolist() == [(row != END).sum().item() + 1 for row in batch.target]
    assert of.supervised(batch).any(0).all()


def test_cues_are_the_steps_with_a_word() -> None:
    of = task()
    batch = of.batch("val", np.arange(50))
    for words, cues in zip(batch.input.tolist(), of.cues(batch).tolist(), strict=True):
        assert set(cues) == {step for step, word in enumerate(words) if word != PAD}


def test_best_constant_for_each_step_costs_the_trivial_loss() -> None:
    of = task(train=write("t.tsv", ROWS), val="t.tsv", test="t.tsv")
    batch = everything(of, "train")
    counted = of.supervised(batch)
    assert counted.all()
    assert of.writes == 4
    assert of.trivial_loss == pytest.approx(np.log(40) / 4)
    frequency = one_hot(batch.target, of.output_size).double().mean(0)
    losses = of.loss(frequency.clamp(min=1e-12).log().expand(*batch.target.shape, -1), batch.target)
    assert losses.mean().item() == pytest.approx(of.trivial_loss)


def test_validation_and_test_without_files_are_tenths_of_the_training_sentences() -> None:
    twice = [*ROWS, *((one, f"난 {other}") for one, other in ROWS)]
    of = task(train=write("t.tsv", twice))
    assert [of.size(split) for split in SPLITS] == [64, 8, 8]
    read = {split: {tuple(x) for x in everything(of, split).input.tolist() if UNKNOWN not in x} for split in SPLITS}
    assert not read["train"] & (read["val"] | read["test"])


def test_file_may_have_no_header_or_other_column_names() -> None:
    named = task(train=write("t.tsv", ROWS), val="t.tsv", test="t.tsv")
    bare = write("b.tsv", ROWS, header="")
    lines = Path.cwd() / "t.jsonl"
    lines.write_text("".join(json.dumps({"a": one, "b": other}) + "\n" for one, other in ROWS))
    others = (
        task(train=bare, val=bare, test=bare, header=False),
        task(train=str(lines), val=str(lines), test=str(lines), source="a", target="b"),
    )
    for other in others:
        for one, two in zip(everything(named, "train"), everything(other, "train"), strict=True):
            assert torch.equal(one, two)


def test_columns_set_the_direction() -> None:
    path = write("t.tsv", ROWS)
    options = TranslationOptions(train=path, val=path, test=path, source="ko", target="en")
    of = Translation(options, 16, 0)
    assert decode(of, options, "train", 3) == ("나는 3 간다", "i go 3")


def test_source_and_target_cannot_be_one_column() -> None:
    with pytest.raises(RequestError, match=r"reads and writes one column: set task\.options\.translation\.target"):
        task(train=write("t.tsv", ROWS), target="en")


def test_conflicting_sources_are_refused() -> None:
    with pytest.raises(RequestError, match="two sources: remove either"):
        task(train="a.tsv", dataset="opus")
    with pytest.raises(RequestError, match=r"nothing to train on: set task\.options\.translation\.train"):
        task(val="a.tsv")
    with pytest.raises(RequestError, match=r"t\.tsv:1: no column `de`.*set task\.options\.translation\.target"):
        task(train=write("t.tsv", ROWS), target="de")


def test_hugging_face_dataset_is_read_with_its_own_splits() -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")
    train, val = ({"en": list(en), "ko": list(ko)} for en, ko in (zip(*ROWS, strict=True), zip(*ROWS[:5], strict=True)))
    datasets.disable_progress_bars()
    parts = {"train": datasets.Dataset.from_dict(train), "validation": datasets.Dataset.from_dict(val)}
    datasets.DatasetDict(parts).save_to_disk("saved")
    datasets.enable_progress_bars()
    of = task(dataset=str(Path.cwd() / "saved"))
    same = task(train=write("t.tsv", ROWS), val=write("v.tsv", ROWS[:5]))
    assert [of.size(split) for split in SPLITS] == [36, 5, 4]
    for split in SPLITS:
        for one, other in zip(everything(of, split), everything(same, split), strict=True):
            assert torch.equal(one, other)


def test_bleu_compares_sentences_up_to_their_end_symbols() -> None:
    generator = torch.Generator().manual_seed(0)
    written = torch.randint(1, 5, (30, 9), generator=generator)
    right = torch.where(torch.rand(30, 9, generator=generator) < 0.7, written, 1)
    ends = torch.randint(5, 9, (30, 1), generator=generator)
    after = torch.arange(9) > ends
    written, right = written.where(torch.arange(9) < ends, END), right.where(torch.arange(9) < ends, END)
    written[after] = 3  # symbols after an end are ignored
    metric, expected = Bleu(END), BLEUScore(n_gram=4)
    texts = [
        [
            "".join("abcde"[symbol] + " " for symbol in row[:end])
            for row, (end,) in zip(rows.tolist(), ends.tolist(), strict=True)
        ]
        for rows in (written, right)
    ]
    for half in (slice(15), slice(15, None)):
        metric.update(one_hot(written[half], 5).float(), right.where(~after, -1)[half])
        expected.update(texts[0][half], [[text] for text in texts[1][half]])
    assert 0.1 < expected.compute() < 0.9
    assert metric.compute().item() == pytest.approx(expected.compute().item())

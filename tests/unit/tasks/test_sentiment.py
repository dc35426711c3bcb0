"""The task of classifying a text as positive or negative."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow import RequestError
from undertow_tasks.text.options import SentimentOptions
from undertow_tasks.text.reviews import LONGEST, SIZES, reviews
from undertow_tasks.text.sentiment import Sentiment
from undertow_tasks.text.tokens import FIRST, PAD, UNKNOWN, Vocabulary, characters_of, words_of

SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def task(length: int = 32, **options) -> Sentiment:
    return Sentiment(SentimentOptions(**options), length, 0)


def everything(of: Sentiment, split: str):
    return of.batch(split, np.arange(of.size(split)))


def write(name: str, rows: list[tuple[str, object]]) -> str:
    """Write a file; each test has its own folder, since a path is read only once per process."""
    path = Path.cwd() / name
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return str(path)


GOOD_AND_BAD = [(f"{'good' if number % 2 else 'bad'} film {number}", number % 2) for number in range(40)]


def test_words_are_in_lower_case_and_marks_are_tokens() -> None:
    assert words_of("It's GOOD -- isn't it?! 나는 3.5") == [
        *("it's", "good", "-", "-", "isn't", "it", "?", "!", "나는", "3", ".", "5"),
    ]
    assert characters_of(" Ab c\n") == ["A", "b", " ", "c"]


def test_vocabulary_keeps_the_most_frequent_tokens() -> None:
    vocabulary = Vocabulary.of([["b", "a", "c"], ["c", "b"], ["c"]], most=2)
    assert vocabulary.tokens == ("c", "b")
    assert len(vocabulary) == 4
    flat, bounds = vocabulary.encode([["a", "b"], ["c"]])
    assert (flat.tolist(), bounds.tolist()) == ([UNKNOWN, FIRST + 1, FIRST], [0, 2, 3])


def test_short_text_is_padded_in_front_and_long_text_keeps_its_end() -> None:
    train = write("t.jsonl", [("a b c d e", 1), ("a b", 0), *GOOD_AND_BAD])
    short, long = (task(length, train=train, val=train, test=train) for length in (3, 7))
    (abc, ab), (abc_long, ab_long) = (of.batch("train", np.array([0, 1])).input.tolist() for of in (short, long))
    assert ab[0] == PAD
    assert abc_long == [PAD, PAD, *abc_long[2:]]
    assert ab_long == [PAD] * 5 + abc_long[2:4]
    assert abc == abc_long[-3:]
    assert ab[1:] == ab_long[-2:]
    assert min(abc_long[2:]) >= FIRST


def test_cues_are_the_steps_with_a_token() -> None:
    of = task(5, train=write("t.jsonl", [("a b c d e f", 1), ("a b", 0), *GOOD_AND_BAD]))
    batch = everything(of, "train")
    for tokens, cues in zip(batch.input.tolist(), of.cues(batch).tolist(), strict=True):
        assert set(cues) == {step for step, token in enumerate(tokens) if token != PAD}


def test_vocabulary_is_that_of_the_training_texts() -> None:
    train, val = write("t.jsonl", GOOD_AND_BAD), write("v.jsonl", [("good unheard", 1), ("bad", 0)])
    of = task(4, train=train, val=val, test=val)
    assert of.batch("val", np.array([0])).input[0].tolist()[-1] == UNKNOWN
    assert of.inputs.vocabulary == FIRST + len({word for text, _ in GOOD_AND_BAD for word in text.split()})
    assert task(4, train=train, val=val, test=val, vocabulary=3).inputs.vocabulary == FIRST + 3


def test_option_makes_characters_tokens() -> None:
    train = write("t.jsonl", GOOD_AND_BAD)
    of = task(12, train=train, val=train, test=train, tokens="char")
    assert of.batch("train", np.array([0])).input[0].tolist().count(PAD) == 12 - len("bad film 0")
    assert of.inputs.vocabulary == FIRST + len({c for text, _ in GOOD_AND_BAD for c in text})


def test_validation_and_test_without_files_are_tenths_of_the_training_texts() -> None:
    of = task(3, train=write("t.jsonl", GOOD_AND_BAD))
    assert [of.size(split) for split in SPLITS] == [32, 4, 4]
    read = [bytes(x.numpy()) for split in SPLITS for x in everything(of, split).input]
    whole = task(3, train=write("w.jsonl", GOOD_AND_BAD), val="w.jsonl", test="w.jsonl")
    assert len(read) == whole.size("train") == 40
    assert sum(everything(of, split).target.sum().item() for split in SPLITS) == 20
    assert everything(of, "val").target.sum() == everything(of, "test").target.sum() == 2


@pytest.mark.parametrize(("good", "bad"), [("positive", "negative"), ("Pos", "NEG"), (1, 0), ("1", "0")])
def test_labels_may_be_spelled_in_three_ways(good: object, bad: object) -> None:
    rows = [(text, good if label else bad) for text, label in GOOD_AND_BAD]
    of = task(3, train=write("t.jsonl", rows), val="t.jsonl", test="t.jsonl")
    assert everything(of, "train").target.tolist() == [label for _, label in GOOD_AND_BAD]


def test_options_set_the_names_of_the_columns() -> None:
    lines = "".join(f"{label},{text}\n" for text, label in GOOD_AND_BAD)
    Path("t.csv").write_text("stars,review\n" + lines)
    of = task(3, train=str(Path.cwd() / "t.csv"), text="review", label="stars")
    assert of.size("train") == 32


def test_trivial_loss_is_the_entropy_of_the_training_labels() -> None:
    assert task().trivial_loss == pytest.approx(math.log(2))
    rows = [("good", 1)] * 30 + [("bad", 0)] * 10
    of = task(1, train=write("t.jsonl", rows), val="t.jsonl", test="t.jsonl")
    assert of.trivial_loss == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    batch = everything(of, "train")
    loss = of.loss(torch.tensor([[0.25, 0.75]]).log().expand(40, 2), batch.target)
    assert loss.shape == (40,)
    assert loss.mean().item() == pytest.approx(of.trivial_loss)


def test_generated_sentences_are_all_different_half_positive_and_short_enough() -> None:
    texts = [text for split in SPLITS for text in reviews(split)[0]]
    assert len(set(texts)) == len(texts) == sum(SIZES.values())
    assert max(len(words_of(text)) for text in texts) <= LONGEST < 16
    for split in SPLITS:
        assert reviews(split)[1].mean() == 0.5


def test_generated_sentence_has_the_meaning_of_its_label() -> None:
    good = "good|lovely|clever|warm|fresh|bright|gentle|fine"
    for split in SPLITS:
        for text, label in zip(*reviews(split), strict=True):
            verdict = text.split(" found the ")[1]
            negated = re.search(r"\b(not|never|far from)\b", verdict.split(" on ")[0]) is not None
            assert bool(label) == (bool(re.search(rf"\b({good})\b", verdict)) != negated), text


def test_no_single_word_of_the_generated_sentences_determines_the_label() -> None:
    texts, labels_N = reviews("train")
    for word in {word for text in texts for word in text.split()}:
        labels = labels_N[[word in text.split() for text in texts]]
        if len(labels) >= 50:
            assert abs(labels.mean() - 0.5) < 0.2, word


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*GOOD_AND_BAD, ("x", "so-so")], r"t\.jsonl:41: label `so-so` in column `label`; expected positive, pos or 1"),
        ([*GOOD_AND_BAD, ("x", None)], r"t\.jsonl:41: column `label` is empty"),
        ([*GOOD_AND_BAD, (" ", 1)], r"t\.jsonl:41: column `text` is empty"),
        ([("x", 1)], r"t\.jsonl:1: the only row; expected 2 or more"),
        ([("x", 1), ("y", 0), ("z", 1)], r"t\.jsonl: 3 examples are too few to hold 2 out"),
        ([("x", 1)] * 30, r"t\.jsonl: every training text is positive; expected both"),
    ],
)
def test_fault_in_a_file_is_refused_with_its_line(rows: list, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        task(train=write("t.jsonl", rows))


def test_missing_column_is_refused_with_its_option() -> None:
    with pytest.raises(
        RequestError, match=r"t\.jsonl:1: no column `stars`.*set task\.options\.sentiment\.label to one"
    ):
        task(train=write("t.jsonl", GOOD_AND_BAD), label="stars")


def test_conflicting_sources_are_refused() -> None:
    with pytest.raises(RequestError, match="two sources: remove either"):
        task(train="a.csv", dataset="imdb")
    with pytest.raises(RequestError, match=r"nothing to train on: set task\.options\.sentiment\.train"):
        task(val="a.csv")


def test_hugging_face_dataset_is_read_with_its_own_splits() -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    texts, labels = zip(*GOOD_AND_BAD, strict=True)
    train = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    hidden = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [-1, -1]}, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": train, "test": hidden}).save_to_disk("saved")
    datasets.enable_progress_bars()
    of = task(3, dataset=str(Path.cwd() / "saved"))
    same = task(3, train=write("t.jsonl", GOOD_AND_BAD))
    for split in SPLITS:
        for one, other in zip(everything(of, split), everything(same, split), strict=True):
            assert torch.equal(one, other)

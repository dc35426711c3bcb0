"""The task of predicting the next character of a text."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow import RequestError
from undertow_tasks.text.bits import BitsPerCharacter
from undertow_tasks.text.char_lm import CharLm
from undertow_tasks.text.options import CharLmOptions

SPLITS = ("train", "val", "test")
TEXT = "".join(f"Line {number}: 나는 집에 간다.\n" for number in range(100))


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    return str(tmp_path / "text.txt")


def task(file: str, length: int = 10) -> CharLm:
    return CharLm(CharLmOptions(file=file), length, 0)


def decode(of: CharLm, tokens: list[int]) -> str:
    return "".join(of.alphabet[token - 1] if token else "\0" for token in tokens)


def test_target_is_the_next_character_and_windows_cover_the_text(file: str) -> None:
    of = task(file)
    for split in SPLITS:
        batch = of.batch(split, np.arange(of.size(split)))
        assert batch.input.shape == batch.target.shape == (of.size(split), 10)
        read = decode(of, batch.input.flatten().tolist())
        following = decode(of, batch.target.flatten().tolist())
        assert read in TEXT
        assert following in TEXT
        assert read[1:] == following[:-1]


def test_splits_are_blocks_of_the_text_in_order(file: str) -> None:
    of = task(file, 7)
    first = 0
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        read = decode(of, of.batch(split, np.arange(of.size(split))).input.flatten().tolist())
        assert TEXT[first:].startswith(read)
        assert len(TEXT) * share - len(read) < 10
        first += int(len(TEXT) * share)


def test_character_that_is_not_in_the_training_block_is_number_0(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 40 + "abcabzabca" + "abababababa")
    of = task(str(tmp_path / "a.txt"), 4)
    assert of.alphabet == "ab"
    assert of.inputs.vocabulary == of.output_size == 3
    assert decode(of, of.batch("val", np.array([0, 1])).input.flatten().tolist()) == "ab\0ab\0ab"


def test_trivial_loss_is_the_entropy_of_the_training_characters(file: str) -> None:
    of = task(file)
    count = Counter(TEXT[: int(len(TEXT) * 0.8)])
    total = sum(count.values())
    assert of.trivial_loss == pytest.approx(-sum(n / total * math.log(n / total) for n in count.values()))
    log_share = torch.tensor([-30.0] + [math.log(count[c] / total) for c in of.alphabet])
    target = of.batch("train", np.arange(of.size("train"))).target
    losses = of.loss(log_share.expand(*target.shape, -1), target)
    assert losses.shape == target.shape
    assert losses.mean().item() == pytest.approx(of.trivial_loss, rel=0.01)


def test_default_text_is_pythons_own_documentation() -> None:
    from pydoc_data.topics import topics

    of = CharLm(CharLmOptions(), 100, 0)
    read = decode(of, of.batch("test", np.array([3])).input[0].tolist())
    assert len(read) == 100
    assert read.replace("\0", "") in "".join(topics[name] for name in sorted(topics))
    assert of.size("train") > 2000
    assert 2 < of.trivial_loss < math.log(of.output_size)


def test_cue_is_the_last_step(file: str) -> None:
    of = task(file)
    assert of.cues(of.batch("val", np.arange(3))).tolist() == [[9]] * 3


def test_bits_per_character_is_the_mean_over_all_targets() -> None:
    metric = BitsPerCharacter()
    metric.update(torch.zeros(3, 8), torch.tensor([0, 5, 7]))  # 3 bits each
    metric.update(torch.tensor([[50.0, 0, 0, 0, 0, 0, 0, 0]]), torch.tensor([0]))  # none
    assert metric.compute().item() == pytest.approx(9 / 4)


def test_index_past_the_last_window_is_refused(file: str) -> None:
    of = task(file)
    with pytest.raises(IndexError):
        of.batch("val", np.array([of.size("val")]))


def test_text_too_short_for_the_length_is_refused_with_the_longest_valid_length(file: str) -> None:
    longest = (int(len(TEXT) * 0.1) - 1) // 2
    with pytest.raises(RequestError, match=rf"text\.txt: the val split has .*set task\.length to {longest} or less"):
        task(file, longest + 1)
    assert task(file, longest).size("val") == 2


def test_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(RequestError, match=r"a\.txt:3: byte 0xe9 is not UTF-8"):
        task(str(tmp_path / "a.txt"))


def test_missing_file_is_refused_with_its_option() -> None:
    with pytest.raises(RequestError, match=r"nowhere\.txt: no such file; set task\.options\.char-lm\.file"):
        task("nowhere.txt")

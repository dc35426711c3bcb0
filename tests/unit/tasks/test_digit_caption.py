"""Digit caption."""

import unicodedata

import numpy as np
import pytest
import torch

from undertow_tasks.digits.digit_caption import NAMES, DigitCaption
from undertow_tasks.digits.options import DigitCaptionOptions
from undertow_tasks.digits.scans import scans
from undertow_tasks.writing import END, cost_of_guessing, until_end

LANGUAGES = ("english", "korean")


def task(language: str = "english", length: int = 6) -> DigitCaption:
    return DigitCaption(DigitCaptionOptions(language=language), length, 0)


def decode(of: DigitCaption, target: list[int]) -> str:
    return "".join(of.letters[symbol - 1] for symbol in target[: target.index(END)])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", [6, 9])
def test_target_is_the_name_and_an_end_symbol(language: str, length: int) -> None:
    of = task(language, length)
    batch = of.batch("val", np.arange(300))
    images, labels = scans("val")
    assert torch.equal(batch.input, images.unsqueeze(1))
    assert batch.target.shape == (300, of.writes) == (300, length)
    for label, target in zip(labels.tolist(), batch.target.tolist(), strict=True):
        assert unicodedata.normalize("NFC", decode(of, target)) == NAMES[language][label]


def test_korean_names_are_spelled_by_letters_not_by_syllables() -> None:
    assert set(map(len, NAMES["korean"])) == {1}
    assert (task("korean").batch("val", np.arange(300)).target != END).sum(1).unique().tolist() == [2, 3]


@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_and_one_end_symbol_count(language: str) -> None:
    of = task(language, 8)
    batch = of.batch("val", np.arange(300))
    for target, counted in zip(batch.target.tolist(), of.supervised(batch).tolist(), strict=True):
        assert counted == [step <= target.index(END) for step in range(8)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_best_constant_for_each_step_costs_the_trivial_loss(language: str) -> None:
    of = task(language)
    batch = of.batch("train", np.arange(of.size("train")))
    counted = of.supervised(batch)
    one_hot = torch.nn.functional.one_hot(batch.target, of.output_size).double() * counted.unsqueeze(-1)
    frequency = one_hot.sum(0) / one_hot.sum((0, 2)).clamp(min=1).unsqueeze(-1)
    losses = of.loss(frequency.clamp(min=1e-12).log().expand(*batch.target.shape, -1), batch.target)
    assert losses[counted].mean().item() == pytest.approx(of.trivial_loss)
    assert task(language, 20).trivial_loss == pytest.approx(of.trivial_loss)


def test_cost_of_guessing_is_the_mean_entropy_of_the_steps() -> None:
    target = torch.tensor([[1, 2, END, END], [3, END, END, END]])
    counted = until_end(target)
    assert counted.tolist() == [[True, True, True, False], [True, True, False, False]]
    assert cost_of_guessing(target, counted) == pytest.approx(4 * np.log(2) / 5)


def test_cue_is_the_step_of_the_image() -> None:
    of = task()
    assert of.cues(of.batch("val", np.arange(3))).tolist() == [[0]] * 3

"""Generated sentences in English and Korean, from one small grammar.

    dict(sentences("train") + sentences("val") + sentences("test"))["I go home"]      # "나는 집에 간다"

The English order is subject, verb, object or place, company, time; in Korean the verb is last, so that the second word
written may be the last one read. A negation comes before the English verb and at the end of the Korean sentence, and
the English -s depends on the subject. Every combination occurs once, in one split. N sentences.
"""

from functools import cache
from math import prod

import numpy as np

from undertow import Split, draws

HELD: dict[Split, int] = {"val": 1000, "test": 1000}
"""Number of sentences held out of training. They are the same for every seed."""

LONGEST = 14
"""Number of English words of the longest sentence."""

_WHO = (
    ("I", "나는"),
    ("you", "너는"),
    ("we", "우리는"),
    ("they", "그들은"),
    ("she", "그녀는"),
    ("the child", "아이는"),
    ("my friend", "내 친구는"),
    ("our teacher", "우리 선생님은"),
)
_THIRD_PERSON = 4
"""From this index of `_WHO` on, the verb has an -s."""
_PLACES = (
    ("home", "집에"),
    ("to school", "학교에"),
    ("to the market", "시장에"),
    ("to the sea", "바다에"),
    ("to the library", "도서관에"),
    ("to the station", "역에"),
)
_FOOD = (("bread", "빵을"), ("rice", "밥을"), ("an apple", "사과를"), ("soup", "국을"))
_TEXTS = (("a book", "책을"), ("a letter", "편지를"), ("a poem", "시를"), ("the newspaper", "신문을"))
_SIGHTS = (("the moon", "달을"), ("the sea", "바다를"), ("a bird", "새를"), ("the mountain", "산을"))
_VERBS = (
    (("go", "goes"), ("간다", "가지 않는다"), _PLACES),
    (("come", "comes"), ("온다", "오지 않는다"), _PLACES),
    (("walk", "walks"), ("걸어간다", "걸어가지 않는다"), _PLACES),
    (("eat", "eats"), ("먹는다", "먹지 않는다"), _FOOD),
    (("read", "reads"), ("읽는다", "읽지 않는다"), _TEXTS),
    (("see", "sees"), ("본다", "보지 않는다"), _SIGHTS),
)
_DOES = tuple((english, korean, what) for english, korean, objects in _VERBS for what in objects)
_WITH = (("", ""), ("with a friend", "친구와"), ("with my mother", "어머니와"), ("alone", "혼자"))
_WHEN = (
    ("", ""),
    ("today", "오늘"),
    ("every day", "매일"),
    ("on Monday", "월요일에"),
    ("in the morning", "아침에"),
    ("in the evening", "저녁에"),
)
_SIZES = (len(_WHO), len(_DOES), len(_WITH), len(_WHEN), 2)


@cache
def sentences(split: Split) -> tuple[tuple[str, str], ...]:
    """The sentences of a split: English, Korean."""
    order = draws.permutation(0, "translation/sentences", prod(_SIZES))
    held = HELD["val"], HELD["val"] + HELD["test"]
    parts: dict[Split, slice] = {"val": slice(held[0]), "test": slice(*held), "train": slice(held[1], None)}
    return tuple(_sentence(int(code)) for code in order[parts[split]])


def _sentence(code: int) -> tuple[str, str]:
    """The sentence of a number below the product of `_SIZES`, English and Korean; all numbers give another one."""
    who, does, company, when, negated = (int(part) for part in np.unravel_index(code, _SIZES))
    (person, topic), (verb, ending, what) = _WHO[who], _DOES[does]
    third = who >= _THIRD_PERSON
    verb_form = ("does not " if third else "do not ") + verb[0] if negated else verb[third]
    english = f"{person} {verb_form} {what[0]} {_WITH[company][0]} {_WHEN[when][0]}"
    korean = f"{topic} {_WHEN[when][1]} {_WITH[company][1]} {what[1]} {ending[negated]}"
    return " ".join(english.split()), " ".join(korean.split())

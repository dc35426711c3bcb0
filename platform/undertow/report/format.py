"""Numbers and names as the report writes them.

number(0.00123456), number(4810)     # ("0.00123", "4,810")
short_names(["cell.name", "cell.options.lstm.forget_bias"])
# {"cell.name": "cell", "cell.options.lstm.forget_bias": "forget_bias"}
"""

import html
import json
import math
import re
from collections.abc import Iterable, Sequence

from undertow.config.space import Scalar

NOTHING = "–"
"""Stands where there is no value."""


def number(value: float) -> str:
    """Three digits that count; whole numbers with thousands apart."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 999.5:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.3g}"
    return f"{value:.3g}"


def scalar(value: Scalar) -> str:
    """A value of the configuration, as YAML would have it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last word of each dotted key, or as much more of it as tells it from the others."""
    keys = list(keys)
    names = {key: _ending(key, 1) for key in keys}
    for words in range(2, max((key.count(".") for key in keys), default=0) + 2):
        for key in keys:
            if list(names.values()).count(names[key]) > 1:
                names[key] = _ending(key, words)
    return names


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def count(amount: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def slug(text: str) -> str:
    """A text as part of a file name or an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def power_of_ten(exponent: float) -> str:
    """``10⁻¹⁶``."""
    return "10" + f"{exponent:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def shown(text: str) -> str:
    """A text for a plot, whose library would take ``<b>`` for a command."""
    return html.escape(text, quote=False)


def _ending(key: str, words: int) -> str:
    parts = key.split(".")
    if len(parts) == 2 and parts[1] == "name":
        return parts[0]
    return ".".join(parts[-words:])

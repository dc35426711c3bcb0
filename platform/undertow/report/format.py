"""Numbers, values and names as the report writes them.

format_number(0.00123456), format_number(4810)     # ("0.00123", "4,810")
short_names(["cell.name", "cell.options.lstm.forget_bias"])
# {"cell.name": "cell", "cell.options.lstm.forget_bias": "forget_bias"}
"""

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from undertow.config.space import Value

NO_VALUE = "–"
"""Written where there is no value."""


def format_number(value: float) -> str:
    """Three significant digits; from 1,000 on all digits of the whole number, grouped by thousands."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 999.5:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.3g}"
    return f"{value:.3g}"


def format_value(value: Value) -> str:
    """A value of the configuration as YAML writes it; different numbers give different texts."""
    if isinstance(value, float):
        text = f"{value:.6g}"
        return text if float(text) == value else repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(format_value(each) for each in value)}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def format_sampled(value: Value) -> str:
    """A value that a sampler chose: floats with six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last word of each dotted key; keys that share it get as many words as make them different."""
    keys = list(keys)
    names = {key: _last_words(key, 1) for key in keys}
    for words in range(2, max((key.count(".") for key in keys), default=0) + 2):
        uses = Counter(names.values())
        names = {key: _last_words(key, words) if uses[name] > 1 else name for key, name in names.items()}
    return names


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def count_of(amount: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def slug(text: str) -> str:
    """A text as part of a file name or an anchor; different texts may give the same slug."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def power_of_ten(exponent: float) -> str:
    """``10⁻¹⁶``."""
    return "10" + f"{exponent:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def plot_text(text: str) -> str:
    """A text for plotly, which reads tags such as ``<b>``: they are escaped."""
    return html.escape(text, quote=False)


def _last_words(key: str, words: int) -> str:
    parts = key.split(".")
    if len(parts) == 2 and parts[1] == "name":
        return parts[0]
    return ".".join(parts[-words:])

"""Addresses without their passwords: whatever is stored, shown or complained about goes through here."""

import re

# Greedy, since a password may hold a colon, a slash or an @ that nobody has escaped.
_OF_USER = re.compile(r"(://[^:/?@\[]*):.*@")
_IN_QUERY = re.compile(r"([?&]\w*password=)[^&]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with an address in it, such as ``track.uri=postgresql://me:***@host/db``, its password redacted."""
    return _IN_QUERY.sub(r"\1***", _OF_USER.sub(r"\1:***@", text))

"""Remove passwords from addresses before they are stored, shown or logged."""

import re

# Greedy, since a password may contain a colon, a slash or an @ that is not escaped.
_OF_USER = re.compile(r"(://[^:/?@\[]*):.*@")
_IN_QUERY = re.compile(r"([?&]\w*password=)[^&]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with the passwords of its addresses replaced, as in ``track.uri=postgresql://me:***@host/db``."""
    return _IN_QUERY.sub(r"\1***", _OF_USER.sub(r"\1:***@", text))

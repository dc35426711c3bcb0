"""Remove passwords and tokens from addresses before they are stored, shown or logged."""

import re
from urllib.parse import unquote

# Greedy up to the last @, since a password may contain a colon, a slash or an @ that is not escaped.
_PASSWORD = re.compile(r"(?P<scheme>[a-z][\w+.\-]*)://(?P<user>[^:/?#@\[\s]*):(?P<password>.*)@", re.IGNORECASE)
_USER = re.compile(r"(?P<scheme>[a-z][\w+.\-]*)://(?P<user>[^/?#@\s]*)@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<start>[?&;#])(?P<name>[^?&;#=\s]+)=(?P<value>[^&\s]*)")

_DATABASES = ("postgres", "mysql", "mariadb", "mssql", "oracle")
_SECRET = re.compile(r"pass|pwd|secret|token|key|auth|credential|signature|jwt|bearer|session", re.IGNORECASE)
_SHORT = frozenset({"sig", "sas", "code", "pw"})


def redacted(text: str) -> str:
    """The text without the secrets in its addresses, as in ``track.uri=postgresql://me:***@host/db``.

    Secrets are the password, or the whole part before the @ if it has no password and may be a token, and the values
    of a query whose names suggest a secret (``?access_token=***``). The user of a database is shown.
    """
    return _QUERY.sub(_without_value, _USER.sub(_without_user, _PASSWORD.sub(_without_password, text)))


def _without_password(found: re.Match[str]) -> str:
    shown = f"{found['user']}:***" if found["password"] and found["user"] else "***"
    return f"{found['scheme']}://{shown}@"


def _without_user(found: re.Match[str]) -> str:
    if found["user"].endswith(":***") or found["scheme"].lower().startswith(_DATABASES):
        return found[0]
    return f"{found['scheme']}://***@"


def _without_value(found: re.Match[str]) -> str:
    name = unquote(found["name"])
    secret = found["value"] and (_SECRET.search(name) or name.lower() in _SHORT)
    return f"{found['start']}{found['name']}=***" if secret else found[0]

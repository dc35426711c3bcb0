"""Secrets in addresses: what is shown instead of them; passwords of databases are in tests/unit/config/test_load.py."""

import pytest

from undertow._system.redact import redacted


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://TOKEN@host:5000/path", "http://***@host:5000/path"),
        ("https://TOKEN:@host", "https://***@host"),
        ("http://:TOKEN@host", "http://***@host"),
        ("track.uri=https://TOKEN@host", "track.uri=https://***@host"),
        ("http://host/?token=TOKEN", "http://host/?token=***"),
        ("http://host/?a=1&access_token=TOKEN&b=2", "http://host/?a=1&access_token=***&b=2"),
        ("http://host/?api_key=TOKEN", "http://host/?api_key=***"),
        ("http://host/?apikey=TOKEN refused", "http://host/?apikey=*** refused"),
        (
            "http://host/?X-Amz-Signature=TOKEN&X-Amz-Credential=TOKEN",
            "http://host/?X-Amz-Signature=***&X-Amz-Credential=***",
        ),
        ("http://host/?%74oken=TOKEN", "http://host/?%74oken=***"),
        ("http://host/?client_secret=TOKEN&sig=TOKEN", "http://host/?client_secret=***&sig=***"),
        ("http://host/#access_token=TOKEN", "http://host/#access_token=***"),
        ("http://host/?view=3&name=a", "http://host/?view=3&name=a"),
        ("https://TOKEN@a.example and http://b.example:5000/x", "https://***@a.example and http://b.example:5000/x"),
    ],
)
def test_no_secret_of_an_address_is_shown(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert redacted(shown) == shown

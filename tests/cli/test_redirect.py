"""Redirect URIs: where to listen, and what to tell the provider."""

from __future__ import annotations

import pytest

from valetkey.cli.redirect import DEFAULT, listening_place
from valetkey.errors import InsecureUrl, InvalidInput


@pytest.mark.parametrize(
    ("uri", "host", "port", "path", "with_49152"),
    [
        (DEFAULT, "127.0.0.1", 0, "/callback", "http://127.0.0.1:49152/callback"),
        ("http://127.0.0.1:8765/cb", "127.0.0.1", 8765, "/cb", "http://127.0.0.1:8765/cb"),
        ("http://127.0.0.1", "127.0.0.1", 0, "/", "http://127.0.0.1:49152"),
        ("http://localhost/callback", "127.0.0.1", 0, "/callback", "http://localhost:49152/callback"),
        ("http://[::1]/callback", "::1", 0, "/callback", "http://[::1]:49152/callback"),
    ],
)
def test_a_loopback_uri_is_listened_on(uri, host, port, path, with_49152):
    place = listening_place(uri)
    assert (place.host, place.port, place.path, place.at(49152)) == (host, port, path, with_49152)


@pytest.mark.parametrize("uri", ["https://example.com/callback", "https://127.0.0.1:8765/callback"])
def test_another_uri_is_for_pasting(uri):
    assert listening_place(uri) is None


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://example.com/callback", InsecureUrl),
        ("http://127.0.0.1.example.com/callback", InsecureUrl),
        ("http://127.0.0.1/callback?x=1", InvalidInput),
        ("myapp:/callback", InvalidInput),
    ],
)
def test_a_uri_that_cannot_be_one_is_refused(uri, error):
    with pytest.raises(error):
        listening_place(uri)

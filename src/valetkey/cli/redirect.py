"""Redirect URIs: which one to register, and whether this machine can listen on it (RFC 8252). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from valetkey.errors import InvalidInput
from valetkey.values import is_loopback, secure_url

DEFAULT: Final = "http://127.0.0.1/callback"
"""What to register when nothing else is said: the port of a loopback address is free (RFC 8252 section 7.3), and the
literal address is better than the name localhost (section 8.3)."""

WITH_PORT: Final = "http://127.0.0.1:8765/callback"
"""An example for providers that want a port to be registered."""


@dataclass(frozen=True, slots=True)
class Place:
    """Be where an answer is received: `host` to listen on, `port` 0 for any free one, `path` to answer."""

    uri: str
    name: str
    host: str
    port: int
    path: str

    def at(self, port: int) -> str:
        """Return the redirect URI with the port that was taken."""
        if self.port:
            return self.uri
        name = f"[{self.name}]" if ":" in self.name else self.name
        return self.uri.replace(f"//{name}", f"//{name}:{port}", 1)

    def netloc(self, port: int) -> str:
        """Return the Host header that a browser sends."""
        return urlsplit(self.at(port)).netloc


def listening_place(redirect_uri: str) -> Place | None:
    """Return where to listen for a redirect URI, None if it leads elsewhere; raises InvalidInput, InsecureUrl."""
    parts = urlsplit(secure_url(redirect_uri, "redirect URI"))
    name = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(name):
        return None
    if parts.query:
        raise InvalidInput("a loopback redirect URI has no query", fix="leave out the ? and what follows it")
    host = "::1" if ":" in name else "127.0.0.1"
    return Place(redirect_uri, name, host, parts.port or 0, parts.path or "/")

"""HTTPS_PROXY and NO_PROXY, read as everybody reads them. No other variable is obeyed.

What may not be here: connections.
"""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from valetkey.errors import InvalidInput
from valetkey.transport.exchange import Target, is_direct
from valetkey.values import Unpicklable

FIX = "write it as http://proxy:3128"


@dataclass(frozen=True, slots=True)
class Proxy(Unpicklable):
    """Be a proxy and the hosts it is not for. `url` may hold a password."""

    url: str = field(default="", repr=False)
    no: str = ""
    place: str = ""  # host:port

    def authorization(self) -> dict[str, str]:
        """Return the header that shows the proxy who we are; empty where the URL has no user part."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return {}
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Proxy-Authorization": "Basic " + b64encode(pair.encode()).decode()}

    def for_target(self, target: Target) -> bool:
        """Say whether the target is asked through the proxy; this machine never is."""
        return bool(self.url) and not is_direct(target) and not any(_names(word, target) for word in self.no.split(","))


def from_environment() -> Proxy:
    """Read the environment; lower-case names go first, as in curl. Raises InvalidInput where the URL is none."""
    url = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or ""
    no = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if not url:
        return Proxy()
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("HTTPS_PROXY is not a URL", fix=FIX) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise InvalidInput("HTTPS_PROXY is not the URL of an HTTP proxy", fix=FIX)
    port = port or (443 if parts.scheme == "https" else 80)
    return Proxy(url, no, f"{host}:{port}")


def _names(word: str, target: Target) -> bool:
    """Say whether a word of NO_PROXY names the target: *, a host, a domain with its subdomains, either with a port."""
    word = word.strip().lower()
    if word == "*":
        return True
    host, colon, port = word.rpartition(":")
    if colon and port.isdecimal() and ("]" in host or ":" not in host):  # else the colons are those of an IPv6 address
        if int(port) != target.port:
            return False
        word = host
    word = word.strip("[]").removeprefix("*").lstrip(".")
    return bool(word) and (target.host == word or target.host.endswith("." + word))

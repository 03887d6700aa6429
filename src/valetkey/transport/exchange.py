"""One request on its way: where it goes, until when, whether it has left; and how its answer is read.

Both transports share this file, so that they check, time and decode alike.
What may not be here: sockets, urllib3, aiohttp, ssl.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from valetkey._version import __version__
from valetkey.errors import BadAnswer, InvalidInput
from valetkey.values import Request, Response, is_loopback, lowered, secure_url

USER_AGENT: Final = f"valetkey/{__version__}"

IDLE_SECONDS: Final = 4.0
"""How long a connection may lie unused and be used again.

Node and uvicorn close after 5 seconds, nginx after 75, AWS load balancers after 60. A request that meets the close on
its way is a lost answer, and for a rotating refresh token that is the worst of all; a new handshake costs little.
"""

LINE_LIMIT: Final = 65_536
"""Longest status or header line of an answer, as http.client has it; aiohttp's own 8,190 is too short for some
Content-Security-Policy headers."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2: method and header names."""

NAME = re.compile(r"[a-z0-9._-]{1,253}")
"""A host name in ASCII; or an IPv4 address, or one of its many spellings."""

NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes a host an IPv4 address and no name (WHATWG URL, section 3.5)."""


class Target(NamedTuple):
    """Be the parts of a checked URL; `path` holds the query as well."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def place(self) -> str:
        """Return host and port, which is all that messages say of a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Exchange:
    """Be one request on its way. `deadline` is on the monotonic clock.

    `asking` is true from when the connection stands: what is written then is the request, and not a proxy's CONNECT.
    `sent` is true as soon as a byte of the request may have reached the server, `ended` when the server has said that
    no more comes. `hang_up` closes, without ado, a connection that cannot be used again.
    """

    request: Request = field(repr=False)
    target: Target = field(repr=False)
    deadline: float
    via: str = ""  # host:port of the proxy
    asking: bool = False
    sent: bool = False
    ended: bool = False
    hang_up: Callable[[], object] | None = field(default=None, repr=False)

    def left(self) -> float:
        """Return the seconds left; raises TimeoutError when there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


CURRENT: ContextVar[Exchange] = ContextVar("valetkey.transport.exchange")
"""The exchange this thread or task works on. Neither client library has an argument that reaches its sockets, and it
is the sockets that must know how long they may still wait."""


def begin(request: Request) -> Exchange:
    """Check a request and start its time; raises InvalidInput or InsecureUrl."""
    return Exchange(request, _target(request), time.monotonic() + request.timeout)


def _target(request: Request) -> Target:
    parts = urlsplit(secure_url(request.url, "URL"))
    host = parts.hostname or ""
    if not request.url.isascii() or "\x7f" in request.url or not _is_host(host):
        raise InvalidInput(
            "the URL holds characters that no URL has",
            fix="percent-encode the path; write the host name in its ASCII form",
        )
    if not TOKEN.fullmatch(request.method):
        raise InvalidInput("the HTTP method is not a word")
    for name, value in request.headers.items():
        # The libraries would refuse it too, and show the value in their message.
        if not TOKEN.fullmatch(name) or any(ord(c) > 0xFF or c == "\x7f" or (c < " " and c != "\t") for c in value):
            raise InvalidInput("a header cannot be sent as it is", fix="leave line breaks and non-Latin letters out")
    default = 443 if parts.scheme == "https" else 80
    path = parts.path or "/"
    return Target(
        parts.scheme,
        host,
        default if parts.port is None else parts.port,
        f"{path}?{parts.query}" if parts.query else path,
    )


def _is_host(host: str) -> bool:
    """Say whether this is a name, or an address in its one proper spelling.

    127.1, 0x7f000001 and 127.0.0.1. are 127.0.0.1 to a resolver and a name to a rule about addresses.
    """
    is_number = ":" in host or NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2])
    if not is_number:
        return NAME.fullmatch(host) is not None
    try:
        return not getattr(ip_address(host), "scope_id", None)
    except ValueError:
        return False


def is_direct(target: Target) -> bool:
    """Say whether the target is never asked through a proxy: this machine."""
    return target.scheme == "http" or is_loopback(target.host)


def headers_of(request: Request) -> dict[str, str]:
    """Return what is sent: the request's own headers, who we are, and that the answer shall not be compressed."""
    given = {name.lower(): value for name, value in request.headers.items()}
    return {"user-agent": USER_AGENT, **given, "accept-encoding": "identity"}


def answer(exchange: Exchange, status: int, fields: Iterable[tuple[str, str]], body: bytes) -> Response:
    """Make the Response out of at most limit + 1 bytes of body; raises BadAnswer where it is compressed and broken.

    Some servers compress although we ask them not to. gzip is undone up to the limit, so that a small body cannot
    become a large one; anything else was never agreed on.
    """
    headers, limit = lowered(fields), exchange.request.limit
    cut, body = len(body) > limit, body[:limit]
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in {"", "identity"} or not body:
        return Response(status, headers, body, cut)
    if coding not in {"gzip", "x-gzip"}:
        raise _bad(exchange, "compressed in a way that was not asked for", status)
    try:
        decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise _bad(exchange, "not the gzip it says it is", status) from None
    if len(plain) <= limit and not cut and (decoder.unused_data or not decoder.eof):
        raise _bad(exchange, "not the gzip it says it is", status)
    return Response(status, _without_coding(headers), plain[:limit], cut or len(plain) > limit)


def _without_coding(headers: Mapping[str, str]) -> Mapping[str, str]:
    # They describe the compressed body, which the reader of the Response never sees.
    return MappingProxyType({n: v for n, v in headers.items() if n not in {"content-encoding", "content-length"}})


def _bad(exchange: Exchange, what: str, status: int) -> BadAnswer:
    target = exchange.target
    message = f"the answer of {target.place} is {what}"
    return BadAnswer(message, host=target.host, port=target.port, status=status, sent=True)

"""What every request passes: is it for us, what every answer carries, and the access log. Bare ASGI.

The Host header is checked because of DNS rebinding: a page of another name that resolves to 127.0.0.1 could read us.
What may not be here: cookies, pages, the vault.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

from valetkey.audit.who import acting
from valetkey.values import is_loopback

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

ACCESS: Final = logging.getLogger("valetkey.access")

PATH_SHOWN: Final = 200
"""Characters of a path in the log; ours have fewer, and an attacker's may have thousands."""

CARRIED: Final = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
)
"""On every answer that does not say otherwise itself."""

HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


class Shield:
    """Stand around an application: refuse foreign names, add headers, log without queries."""

    def __init__(self, app: Asgi, public_url: str) -> None:
        self._app = app
        parts = urlsplit(public_url)
        self._host = (parts.hostname or "").lower()
        self._public_url = public_url
        self._carried = (*CARRIED, HSTS) if parts.scheme == "https" else CARRIED

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, number = time.monotonic(), 500, secrets.token_hex(8)

        async def carrying(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = {name.lower() for name, _value in message["headers"]}
                carried = (*self._carried, (b"x-request-id", number.encode()))
                message["headers"] = [*message["headers"], *(pair for pair in carried if pair[0] not in said)]
            await send(message)

        try:
            with acting(request=number):  # what comes of it says so in the audit log
                await self._answer(scope, receive, carrying)
        finally:
            took = (time.monotonic() - began) * 1000
            path = quote(scope["path"][:PATH_SHOWN], safe="/@+:")
            ACCESS.info("%s %s %d %.0f ms %s", scope["method"][:10], path, status, took, number)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        host = asked_host(scope["headers"])
        if not is_loopback(host) and (not host or host != self._host):
            await _plain(send, 421, b"valetkey does not answer under this name.\n")
        elif host != self._host and is_loopback(self._host) and _is_page(scope):
            # The cookie of localhost is not that of 127.0.0.1, where the provider will send the browser back to.
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            where = self._public_url.encode() + quote(scope["path"], safe="/@+:").encode() + query
            await _plain(send, 307, b"", (b"location", where))
        else:
            await self._app(scope, receive, send)


def _is_page(scope: Message) -> bool:
    path: str = scope["path"]
    return scope["method"] == "GET" and (path in {"/", "/enter"} or path.startswith("/connect"))


def asked_host(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the name in the one Host header, or the empty string if there is not one (RFC 9112 section 3.2)."""
    told = [value for name, value in headers if name == b"host"]
    return host_name(told[0].decode("latin-1")) if len(told) == 1 else ""


def host_name(header: str) -> str:
    """Return the host of a Host header, without its port, or the empty string."""
    if any(c in header for c in "/?#@\\"):
        return ""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def _plain(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    told = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})

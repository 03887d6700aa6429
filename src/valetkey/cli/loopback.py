"""The listener of `valetkey connect`: one answer on a loopback port, then it is gone (RFC 8252 sections 7.3 and 8.3).

It takes an answer only on the expected path, for the expected host and with the expected state; everything else, from
favicons to a web page that tries its luck, is sent away and the waiting goes on. The page it shows holds nothing of the
request. What may not be here: judging the answer (the vault does).
"""

from __future__ import annotations

import hmac
import os
import socketserver
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

from valetkey.cli.redirect import Place
from valetkey.errors import CallbackRefused, InvalidInput

POLL_SECONDS: Final = 0.2
"""How long one wait for a browser lasts; between two, Ctrl-C and the end of the time are noticed."""

QUIET_SECONDS: Final = 15.0
"""How long it is waited without a word: who is logged in there already has consented by then."""

SOCKET_SECONDS: Final = 10.0
"""How long a browser that has connected may keep silent; some open connections ahead and never use them."""

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>valetkey</title>
<h1>{title}</h1>
<p>{text}</p>
"""

HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}

DONE: Final = (200, "You can close this window", "valetkey has the answer; the terminal says what came of it.")
DENIED: Final = (200, "Consent was denied", "Nothing was connected. You can close this window.")
STRANGER: Final = (400, "This is not the answer", "It does not belong to the login that waits in the terminal.")
NOTHING: Final = (404, "Nothing here", "valetkey waits here for the end of a login, and for nothing else.")
LATE: Final = (410, "Too late", "This login has had its answer.")


class Listener(socketserver.ThreadingTCPServer):
    """Wait on a loopback port for the one answer that carries `state`. Use it in a with statement.

    Raises InvalidInput if the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows the option would let another program take the port over
    request_queue_size = 16

    def __init__(self, place: Place) -> None:
        if place.host == "::1":
            import socket

            self.address_family = socket.AF_INET6
        try:
            super().__init__((place.host, place.port), _Handler)
        except OSError as refusal:
            raise InvalidInput(
                f"cannot listen on {place.netloc(place.port)}: {refusal.strerror}",
                cause="another program uses the port, perhaps another `valetkey connect`",
                fix="end that program, or paste the answer by hand: --no-browser",
            ) from None
        self.port = int(self.server_address[1])
        self.redirect_uri = place.at(self.port)
        self.netloc = place.netloc(self.port)
        self.path = place.path
        self.expected = ""
        self.answer = ""
        self.strangers = 0
        self.timeout = POLL_SECONDS

    def wait(
        self, state: str, until: float, *, overdue: Callable[[], None] = lambda: None, quiet: float = QUIET_SECONDS
    ) -> str:
        """Return the address the browser was sent to, once it carries `state`; `overdue` is called once meanwhile.

        `until` is seconds since the epoch, `quiet` the seconds before `overdue`; raises CallbackRefused
        (state_expired) when nobody came.
        """
        self.expected = state
        begun, told = time.monotonic(), False
        while not self.answer:
            if not told and time.monotonic() - begun >= quiet:
                told = True
                overdue()
            if time.time() >= until:
                raise CallbackRefused(
                    "nobody finished the login in time",
                    code="state_expired",
                    cause="the page was closed, or it showed an error instead of coming back: often that the "
                    "redirect URI is not the registered one",
                )
            self.handle_request()
        return self.answer

    def take(self, target: str, host: str) -> tuple[int, str, str]:
        """Judge one request and return the page for it."""
        parts = urlsplit(target)
        if parts.path != self.path or host.lower() != self.netloc.lower() or not self.expected:
            return NOTHING
        states = parse_qs(parts.query).get("state", [])
        if not states and not parts.query:
            return NOTHING
        if len(states) != 1 or not hmac.compare_digest(states[0].encode(), self.expected.encode()):
            self.strangers += 1
            return STRANGER
        if self.answer:
            return LATE
        # RFC 6749 section 4.1.2.1. Nothing else of the answer chooses what is shown.
        return DENIED if parse_qs(parts.query).get("error") == ["access_denied"] else DONE

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that hung up."""


class _Handler(BaseHTTPRequestHandler):
    """Answer one request; keep no log, for its lines would hold the code."""

    timeout = SOCKET_SECONDS
    server_version = "valetkey"
    sys_version = ""

    def do_GET(self) -> None:
        """Show the page, then hand the answer over: whoever waits closes the listener at once."""
        listener = cast("Listener", self.server)
        status, title, text = page = listener.take(self.path, self.headers.get("Host", ""))
        body = PAGE.format(title=title, text=text).encode()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if (page is DONE or page is DENIED) and not listener.answer:
            listener.answer = self.path

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Say nothing."""

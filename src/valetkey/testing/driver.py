"""Serve a Desk on loopback with the standard library's threading HTTP server, and close it without a trace.

What may not be here: anything that knows OAuth.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Final

from valetkey.testing.desk import Delivery
from valetkey.testing.wire import BODY_LIMIT
from valetkey.values import Request, Response, lowered

HOST: Final = "127.0.0.1"

IDLE_SECONDS: Final = 60.0
"""How long a kept connection may be silent; clients close theirs much sooner."""

POLL_SECONDS: Final = 0.02
"""How soon the accepting thread notices that it is to stop."""

BACKLOG: Final = 256
"""Connections that may wait to be accepted: tests come with 8 processes of 8 threads at once."""

Answerer = Callable[[Request], Delivery]


class Driver(socketserver.ThreadingTCPServer):
    """Listen on loopback and answer each connection in a thread of its own.

    `access_log`, if given, is told one line per request: method, path without query, status.
    """

    allow_reuse_address = True
    daemon_threads = False  # closing waits for them
    request_queue_size = BACKLOG

    def __init__(self, port: int, answerer: Answerer, access_log: Callable[[str], None] | None = None) -> None:
        self.answerer = answerer
        self.access_log = access_log
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((HOST, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), name="sandbox", daemon=True)

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut what is open, and wait until every thread has ended."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._guard:
            for kept in self._open:
                # Wakes the thread that waits for the next request; it closes the socket itself.
                with contextlib.suppress(OSError):
                    kept.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Remember the connection, so that stopping can end it."""
        with self._guard:
            self._open.add(_plain(request))
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close the connection and forget it."""
        with self._guard:
            self._open.discard(_plain(request))
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Show what went wrong, unless the client just went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _plain(request: socket.socket | tuple[bytes, socket.socket]) -> socket.socket:
    return request if isinstance(request, socket.socket) else request[1]


class _Handler(BaseHTTPRequestHandler):
    """Turn HTTP into a Request, and a Delivery into HTTP."""

    protocol_version = "HTTP/1.1"
    server_version = "valetkey-sandbox"
    sys_version = ""
    timeout = IDLE_SECONDS
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True
    server: Driver

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        # A target that is no path (absolute form, `*`) leads nowhere here.
        path = self.path if self.path.startswith("/") else "/*"
        url = f"http://{HOST}:{self.server.port}{path}"
        delivery = self.server.answerer(Request(self.command, url, lowered(self.headers.items()), body))
        if delivery.delay:
            self.server.stopping.wait(delivery.delay)
        if delivery.cut or self.server.stopping.is_set():
            self.close_connection = True
        else:
            self._write(delivery.response)
        if self.server.access_log is not None:
            shown = "cut" if delivery.cut else str(delivery.response.status)
            self.server.access_log(f"{self.command} {path.split('?', 1)[0]} {shown}")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815  # names of http.server

    def _body(self) -> bytes | None:
        """Read the body; None when it was refused and the connection ends."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(411, "a body needs a Content-Length")
        elif len(length) > len(str(BODY_LIMIT)) or int(length) > BODY_LIMIT:
            self._refuse(413, "the body is too large")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True  # the client left in the middle
        return None

    def _refuse(self, status: int, why: str) -> None:
        # What follows on this connection is the body we did not read, not a request.
        self.close_connection = True
        self._write(Response(status, {"content-type": "text/plain", "connection": "close"}, why.encode()))

    def _write(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name http.server gave it
        """Say nothing: http.server would print addresses with their query, where codes stand."""

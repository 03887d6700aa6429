"""Sockets, uvicorn, signals: the server from its first byte to a clean end.

What may not be here: routes, and what is printed for people (cli/).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from valetkey.errors import InvalidInput
from valetkey.web.shield import Asgi
from valetkey.web.waiting import ARRIVAL_SECONDS, Bounded, Guest, Lobby

BACKLOG: Final = 512

GRACE_SECONDS: Final = 35
"""How long open requests may take after the signal: a token request may take 30 seconds."""

KEEP_ALIVE_SECONDS: Final = 20

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Tls:
    """Be the certificate chain and key of the server, as PEM files."""

    certificate: Path
    key: Path


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises InvalidInput when the address cannot be had."""
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, proto)
    except OSError:
        raise InvalidInput(f"{host!r} is no address of this machine") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as refusal:
        made.close()
        if refusal.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"port {port} of {host} is taken",
                cause="another program listens there, perhaps another valetkey",
                fix="choose another with --port, or --port 0 for any free one",
            ) from None
        raise InvalidInput(
            f"this machine cannot listen on {host} port {port}: {refusal.strerror}", fix="check --host and --port"
        ) from None
    return made


class Server(uvicorn.Server):
    """Serve until told to stop; the signal that stops it is its normal end, so it is not raised again."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but end silence: connections without a request, and handshakes without an end."""
        await self.lifespan.startup()
        make = partial(Guest, lobby=Lobby(), config=self.config, state=self.server_state, app_state=self.lifespan.state)
        tls = self.config.ssl
        handshake = ARRIVAL_SECONDS if tls else None
        listen = asyncio.get_running_loop().create_server
        self.servers = [
            await listen(make, sock=one, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=handshake)
            for one in sockets or ()
        ]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at the first signal when what is open has ended, and at once at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def server(app: Asgi, *, tls: Tls | None = None) -> Server:
    """Return a server for an application; `run(sockets=[…])` serves until a signal comes."""
    # `access_log=False` only takes its handlers away; whoever adds one to all loggers would get codes and states.
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        Bounded(app),
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
        lifespan="off",
        ws="none",
        log_config=None,  # our own access log leaves out the query; uvicorn's does not
        access_log=False,
        proxy_headers=False,  # nothing here depends on who the client says it is
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        config.load()
    except OSError as refusal:  # ssl.SSLError is one
        raise InvalidInput(
            f"the certificate or its key cannot be read: {refusal.strerror or type(refusal).__name__}",
            fix="give PEM files that belong together: --tls-cert chain.pem --tls-key key.pem",
        ) from None
    return Server(config)

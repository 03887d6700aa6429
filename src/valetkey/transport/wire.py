"""Sockets that obey the deadline, TLS, and connections; the part of the sync transport that touches the network.

Loaded at the first request: urllib3 takes 50 ms. Of urllib3 come the connections, with TLS and proxy tunnels, and
not its pools: they write the whole URL into their log, and some providers are given secrets in the query.
What may not be here: retries, redirects, cookies.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Final, TypeAlias

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import parse_url

from valetkey.transport.addresses import Info, all_public, lookup
from valetkey.transport.exchange import CURRENT, Exchange, headers_of
from valetkey.transport.failures import blocked
from valetkey.transport.proxies import Proxy

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

BLOCK: Final = 65_536

NOT_PRINTED: Final = 0
"""Our `debuglevel`. The recipe `http.client.HTTPConnection.debuglevel = 1` lets Python print every request, secrets and
all, to standard output; it sets the class above ours."""

NOT_PUBLIC: Final = (
    "its name has an address that is loopback, private or reserved",
    "for a server inside your network, allow private addresses where you name it",
)
BEHIND_PROXY: Final = (
    "a proxy stands in between, so which address would be reached cannot be checked",
    "add the host to NO_PROXY, or allow private addresses where you name it",
)


class TimedSocket(socket.socket):
    """Be a socket that holds every operation to the deadline of the exchange, so that a slow drip does not add up."""

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send some; from the first byte taken of the request on, the exchange counts as sent."""
        exchange = CURRENT.get()
        self.settimeout(exchange.left())
        count = super().send(data, flags)
        exchange.sent = exchange.sent or (exchange.asking and count > 0)
        return count

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all. A loop of our own, because the system's does not say whether anything went before it failed."""
        with memoryview(data) as view, view.cast("B") as rest:
            done = 0
            while done < len(rest):
                done += self.send(rest[done:], flags)

    def recv(self, buflen: int = BLOCK, flags: int = 0) -> bytes:
        """Receive some."""
        self.settimeout(CURRENT.get().left())
        return super().recv(buflen, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive some into a buffer; all reading of http.client comes through here."""
        exchange = CURRENT.get()
        self.settimeout(exchange.left())
        count = super().recv_into(buffer, nbytes or memoryview(buffer).nbytes, flags)
        exchange.ended = exchange.ended or count == 0
        return count


class TimedTls(TimedSocket, ssl.SSLSocket):
    """Be the same under TLS."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # the signature of ssl
        """Shake hands within the deadline."""
        self.settimeout(CURRENT.get().left())
        super().do_handshake(block)


def tls_context() -> ssl.SSLContext:
    """Return TLS 1.2 or later, verified against the system's CAs; OpenSSL reads SSL_CERT_FILE and SSL_CERT_DIR."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TimedTls
    return context


def dial(host: str, port: int) -> TimedSocket:
    """Connect to the first address of a name that answers; raises OSError or ProviderError (blocked_address)."""
    exchange = CURRENT.get()
    found = lookup(host, port).result(exchange.left())
    if exchange.request.public_only and not all_public(found):
        raise blocked(exchange, *NOT_PUBLIC)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for tried, info in enumerate(found):
        try:
            # An address that swallows packets must leave time for the others.
            return _open(info, exchange.left() / (len(found) - tried))
        except OSError as error:
            failure = error
    raise failure


def _open(info: Info, seconds: float) -> TimedSocket:
    family, kind, protocol, _, address = info
    sock = TimedSocket(family, kind, protocol)
    try:
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class PlainConnection(HTTPConnection):
    """Be a connection without TLS, to this machine."""

    debuglevel = NOT_PRINTED

    def _new_conn(self) -> socket.socket:
        return dial(self._dns_host, self.port)


class TlsConnection(HTTPSConnection):
    """Be a connection with TLS, straight or through a proxy's tunnel."""

    debuglevel = NOT_PRINTED

    def _new_conn(self) -> socket.socket:
        return dial(self._dns_host, self.port)

    def connect(self) -> None:
        """Connect, tunnel and shake hands; raises also when nobody verified the certificate."""
        super().connect()
        if not self.is_verified:
            self.close()
            raise ssl.SSLCertVerificationError("the certificate was not verified")


Connection: TypeAlias = PlainConnection | TlsConnection


def connection_for(exchange: Exchange, context: ssl.SSLContext | None, proxy: Proxy | None) -> Connection:
    """Make a connection that is not open yet. Without a proxy, TLS needs the context; so does a tunnel."""
    target = exchange.target
    # The time-out of the library stays out of the way: TimedSocket sets it for each operation.
    if target.scheme == "http":
        return PlainConnection(target.host, target.port, timeout=None)
    if proxy is None:
        return TlsConnection(target.host, target.port, timeout=None, ssl_context=context)
    url = parse_url(proxy.url)
    settings = ProxyConfig(context, False, None, None)
    host, _, port = proxy.place.rpartition(":")
    connection = TlsConnection(
        host, int(port), timeout=None, ssl_context=context, proxy=url, proxy_config=settings, socket_options=[]
    )
    connection.set_tunnel(target.host, target.port, headers=proxy.authorization(), scheme=url.scheme or "http")
    return connection


def ask(connection: Connection, exchange: Exchange) -> http.client.HTTPResponse:
    """Connect where needed, send the request, and read the answer up to its body."""
    if connection.is_closed:
        connection.connect()
    exchange.asking = True
    request = exchange.request
    try:
        connection.request(request.method, exchange.target.path, request.body or None, headers_of(request))
    except (BrokenPipeError, ConnectionResetError):
        if not exchange.sent:
            raise  # an idle connection that was closed this moment: the request surely did not arrive
        # Else the server may have answered before it hung up; if it has not, reading says so.
    # Not urllib3's own getresponse: it logs the URL when a header is malformed.
    response = http.client.HTTPConnection.getresponse(connection)
    if exchange.ended:
        # http.client takes the end of the stream for the end of the headers; what was cut off may be their half.
        response.close()
        raise http.client.RemoteDisconnected("in the headers")
    return response


def read_body(response: http.client.HTTPResponse, limit: int) -> bytes:
    """Read the body up to one byte more than the limit; raises IncompleteRead when it ends before its length."""
    parts: list[bytes] = []
    wanted = limit + 1
    while wanted > 0 and (part := response.read(min(wanted, BLOCK))):
        parts.append(part)
        wanted -= len(part)
    if wanted > 0 and response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def is_garbled(error: BaseException) -> bool:
    """Say whether the server answered something that is not HTTP."""
    cut_off = (http.client.RemoteDisconnected, http.client.IncompleteRead)
    return isinstance(error, http.client.HTTPException) and not isinstance(error, cut_off)

"""Servers with bad manners on loopback, certificates for them, and one face for all transports.

What may not be here: anything that answers properly by itself; each test writes the bytes its server sends.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from valetkey.transport import AsyncTransport, Transport
from valetkey.values import Request, Response


class Server:
    """Listen on a port of 127.0.0.1 and run `handler(connection, server)` in a thread for each connection."""

    def __init__(self, handler: Callable, context: ssl.SSLContext | None = None) -> None:
        self.handler, self.context = handler, context
        self.connections = 0
        self.requests: list[tuple[bytes, dict[str, str], bytes]] = []
        self.gone = threading.Event()  # a handler has ended and its connection is closed
        self.arrived = threading.Event()  # a request is here
        self.go_on = threading.Event()  # for handlers that wait for the test
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.open: set[socket.socket] = set()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def url(self, path: str = "/token", *, host: str = "127.0.0.1", scheme: str = "") -> str:
        return f"{scheme or ('https' if self.context else 'http')}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        self.open.add(connection)
        with suppress(OSError):
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                self.open.add(connection)
            self.handler(connection, self)
        with suppress(OSError):
            connection.close()
        self.gone.set()

    def read(self, connection: socket.socket) -> bool:
        """Read one request; False when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = {n.decode().lower(): v.decode().strip() for n, _, v in (line.partition(b":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            if not (more := connection.recv(65536)):
                return False
            body += more
        self.requests.append((first, headers, body))
        self.arrived.set()
        return True

    def close(self) -> None:
        self.go_on.set()
        for sock in (self.listener, *list(self.open)):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self.threads:
            thread.join()


class Serve:
    """Start servers: `serve(bytes)` answers every request so, `serve.once(bytes)` one and hangs up, `serve(handler)`."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def __call__(self, handler: Callable | bytes, context: ssl.SSLContext | None = None) -> Server:
        self.servers.append(Server(answering(handler) if isinstance(handler, bytes) else handler, context))
        return self.servers[-1]

    def once(self, answer: bytes, context: ssl.SSLContext | None = None) -> Server:
        def handler(connection: socket.socket, server: Server) -> None:
            server.read(connection)
            connection.sendall(answer)

        return self(handler, context)


def answering(answer: bytes) -> Callable:
    def handler(connection: socket.socket, server: Server) -> None:
        while server.read(connection):
            connection.sendall(answer)

    return handler


@pytest.fixture
def serve() -> Iterator[Serve]:
    serve = Serve()
    yield serve
    for server in serve.servers:
        server.close()


@pytest.fixture(params=["urllib3", "aiohttp", "thread"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make_sender(backend: str) -> Iterator[Callable[[], Callable[[Request], Response]]]:
    """Make senders after the test has set the environment; an async one keeps its event loop between requests."""
    ends: list[Callable[[], object]] = []

    def make() -> Callable[[Request], Response]:
        if backend == "urllib3":
            transport = Transport()
            ends.append(transport.close)
            return transport.send
        runner, several = asyncio.Runner(), AsyncTransport(backend)
        ends.extend((runner.close, lambda: runner.run(several.aclose())))
        return lambda request: runner.run(several.send(request))

    yield make
    for end in reversed(ends):
        end()


@pytest.fixture
def send(make_sender: Callable) -> Callable[[Request], Response]:
    return make_sender()


class Authority:
    """Be a CA of our own, and issue certificates that are wrong in one way or in none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valetkey test CA")])
        self.file = directory / "ca.pem"
        self.file.write_bytes(self._issue(self.name, self.key, ca=True).public_bytes(serialization.Encoding.PEM))

    def _issue(self, subject, key, *, ca=False, host="", issuer=None, signer=None, days=(-1, 30)):
        now = dt.datetime.now(dt.UTC)
        public, signer = key.public_key(), signer or self.key
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(signer, hashes.SHA256())

    def context(self, host: str = "localhost", *, days=(-1, 30), self_signed: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        signer = {"issuer": subject, "signer": key} if self_signed else {}
        certificate = self._issue(subject, key, host=host, days=days, **signer)
        file = self.directory / f"{certificate.serial_number}.pem"
        plain = serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return a CA that the transports trust, because SSL_CERT_FILE says so."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


class Names:
    """Be the resolver: each name has answers, given one after the other; the last is given for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def put(self, host: str, *answers: list[str]) -> None:
        self.answers[host] = list(answers)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver, real = Names(), socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host not in resolver.answers:
            return real(host, port, *args, **kwargs)
        resolver.asked.append(host)
        answers = resolver.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for address in addresses for info in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return resolver

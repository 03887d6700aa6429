"""What the injector tests share: APIs on loopback, a source of tokens, and every client behind one face."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import httpx
import pytest
import requests

import valetkey
from valetkey.errors import ValetkeyError
from valetkey.inject import aiohttp as for_aiohttp
from valetkey.inject import carrier
from valetkey.inject import httpx as for_httpx
from valetkey.inject import requests as for_requests
from valetkey.testing import Sandbox
from valetkey.testing.apps import sandbox_apps
from valetkey.values import Secret, Token
from valetkey.vault.connect import Wish
from valetkey.vault.views import Credential

NAME = "sandbox/alice"


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    """Forget which warnings were said, since they are said once per process."""
    carrier._say_unbound.cache_clear()
    carrier._say_kept.cache_clear()


@pytest.fixture(autouse=True)
def _no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give httpx an empty folder of certificates: to read all there are for each client is most of what it does here."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


# ── the other side ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Seen:
    """Be one request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class Api:
    """Be a server on loopback: /redirect?to=…&status=… sends elsewhere, all else wants a token of `accepted`.

    `accepted` None wants no token. `early` answers 401 before it reads the body; `late` answers it with the head, and
    with the body only when that event is set.
    """

    port: int = 0
    host: str = "127.0.0.1"
    accepted: set[str] | None = None
    early: bool = False
    late: threading.Event | None = None
    refusal: bytes = b'{"error": "invalid_token"}'
    seen: list[Seen] = field(default_factory=list)

    @property
    def bound(self) -> str:
        """Return the line that binds a token to this server."""
        return f"{self.host}:{self.port}"

    def url(self, path: str = "/", host: str = "") -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    def redirect(self, to: str, status: int = 302) -> str:
        return self.url(f"/redirect?status={status}&to={quote(to, safe='')}")

    def tokens(self) -> list[str | None]:
        """Return the Authorization header of every request that came, in order."""
        return [request.authorization for request in self.seen]

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/redirect":
            return int(query["status"]), {"location": query["to"]}, b"elsewhere"
        if self.accepted is not None and (authorization or "").removeprefix("Bearer ") not in self.accepted:
            return 401, {"www-authenticate": 'Bearer error="invalid_token"', "x-refusal": "kept"}, self.refusal
        return 200, {"content-type": "application/json"}, json.dumps({"path": parts.path}).encode()


class Handler(BaseHTTPRequestHandler):
    """Answer as an Api says."""

    api: Api
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, told, body = self.api.answer(self.path, headers.get("authorization"))
        early = self.api.early and status == 401
        arrived = b"" if early else self._body(headers)
        self.api.seen.append(Seen(self.command, self.path, headers, arrived, self.client_address))
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if status == 401 and self.api.late is not None:
            self.api.late.wait(30)
        if self.command != "HEAD":
            self.wfile.write(body)
        if early:
            self._body(headers)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _any  # noqa: N815  # http.server finds methods by these names

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Take many clients at once."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Stay silent: a client that hangs up is part of these tests."""


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    server = Server(("127.0.0.1", 0), type("HandlerOfOne", (Handler,), {"api": api}))
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    """Give the API the connection is bound to."""
    with serving(Api()) as started:
        yield started


@pytest.fixture
def other() -> Iterator[Api]:
    """Give a server the connection is not bound to; it has another name and another port."""
    with serving(Api(host="localhost")) as started:
        yield started


# ── where tokens come from ────────────────────────────────────────────────────────────────────────────────────


class FakeSource:
    """Give tokens the way a keeper does: one new one for each that was refused, however many say so."""

    name = NAME

    def __init__(self, *hosts: str, headers: dict[str, str] | None = None) -> None:
        self.hosts = hosts
        self.headers = headers or {}
        self.generation = 1
        self.refreshes = 0
        self.error: ValetkeyError | None = None
        self.stuck = False
        self.lasting = False  # credentials are for more than one request, as a keeper's are
        self.told: list[tuple[str, str, str]] = []
        self.counted = 0
        self.asked: list[str] = []
        self.on_renewal: Callable[[], None] = lambda: None
        self._made: Credential | None = None
        self._lock = threading.Lock()

    @property
    def current(self) -> str:
        return f"fake-token-number-{self.generation}"

    def for_coroutines(self) -> FakeAsyncSource:
        return FakeAsyncSource(self)

    def token(self) -> Token:
        return Token(Secret(self.current))

    def credential(self, name: str) -> Credential:
        assert name == NAME
        if not self.lasting:
            return Credential(self.token(), self.hosts, "Bearer", self.headers)
        if self._made is None or time.monotonic() >= self._made.validity.until:
            self._made = Credential(self.token(), self.hosts, "Bearer", self.headers, self._told, self._again)
            self._made.validity.until = math.inf
        return self._made

    def _told(self, token: Token, host: str, reason: str) -> None:
        self.told.append((token.reveal(), host, reason))

    def _again(self, host: str) -> Callable[[], None]:
        def count() -> None:
            self.counted += 1

        return count

    def end(self) -> None:
        """Let nobody use what was given without asking again."""
        if self._made is not None:
            self._made.validity.end()

    def renewed(self, name: str, rejected: Token) -> Token:
        assert name == NAME
        with self._lock:
            self.asked.append(rejected.reveal())
            self.on_renewal()
            if self.error is not None:
                raise self.error
            if rejected.reveal() == self.current and not self.stuck:
                self.generation += 1
                self.refreshes += 1
                self.end()
            return self.token()


class FakeAsyncSource:
    """Give the tokens of a FakeSource to coroutines; `gate`, where it is set, holds up a renewal until it opens."""

    def __init__(self, sync: FakeSource) -> None:
        self.sync = sync
        self.gate: asyncio.Event | None = None
        self.waiting: asyncio.Event | None = None

    async def credential(self, name: str) -> Credential:
        await asyncio.sleep(0)
        return self.sync.credential(name)

    async def renewed(self, name: str, rejected: Token) -> Token:
        if self.waiting is not None and self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        return self.sync.renewed(name, rejected)


@pytest.fixture
def source(api: Api) -> FakeSource:
    """Give a source whose token is bound to `api`, with a provider header beside it."""
    return FakeSource(api.bound, headers={"X-Provider-Version": "2022-06-28"})


# ── the real thing ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Give a provider with an API that punishes the second use of a refresh token."""
    with Sandbox(manner="rotating") as started:
        yield started


@pytest.fixture
def vault(sandbox: Sandbox, tmp_path: Path) -> Iterator[valetkey.Vault]:
    """Give a vault in which alice has consented."""
    with valetkey.open(tmp_path / "vault.db") as opened:
        app = next(app for app in sandbox_apps(sandbox) if app.name == "sandbox")
        opened.add_app(app)
        binding = Secret(os.urandom(16).hex())
        wish = Wish(scopes=("read", "write"))
        started = opened.begin(NAME, redirect_uri="http://127.0.0.1:8765/callback", binding=binding, wish=wish)
        opened.finish(sandbox.login(started.url), binding=binding)
        yield opened


# ── the clients ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Answer:
    """Be what a client gave back: the last answer, the statuses before it, and the headers its requests say they had."""

    status: int
    text: str
    headers: dict[str, str]
    history: tuple[int, ...]
    remembered: str


Call = Callable[..., Answer]


def _answer(response: httpx.Response | requests.Response) -> Answer:
    asked = [past.request.headers for past in (*response.history, response)]
    return Answer(
        response.status_code,
        response.text,
        {name.lower(): value for name, value in response.headers.items()},
        tuple(past.status_code for past in response.history),
        repr([sorted(headers.items()) for headers in asked]),
    )


def _httpx(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    with httpx.Client(transport=for_httpx.Transport(source, NAME), follow_redirects=True) as client:
        return _answer(client.request(method, url, **what))


def _httpx_async(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    async def call() -> Answer:
        transport = for_httpx.AsyncTransport(FakeAsyncSource(source), NAME)
        async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
            return _answer(await client.request(method, url, **what))

    return asyncio.run(call())


def _requests(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    if "content" in what:
        what["data"] = what.pop("content")
    with for_requests.Session(for_requests.Adapter(source, NAME)) as session:
        return _answer(session.request(method, url, **what))


def _aiohttp(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    if "content" in what:
        what["data"] = what.pop("content")

    async def call() -> Answer:
        carry = for_aiohttp.middleware(FakeAsyncSource(source), NAME)
        async with aiohttp.ClientSession(middlewares=(carry,)) as session, session.request(method, url, **what) as got:
            past = (*got.history, got)
            return Answer(
                got.status,
                await got.text(),
                {name.lower(): value for name, value in got.headers.items()},
                tuple(hop.status for hop in got.history),
                repr([hop.request_info for hop in past]),
            )

    return asyncio.run(call())


def _httpx_auth(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    auth = for_httpx.Auth(source, FakeAsyncSource(source), NAME)
    with httpx.Client(auth=auth, follow_redirects=True, trust_env=False, verify=False) as client:
        return _answer(client.request(method, url, **what))


def _httpx_auth_async(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    async def call() -> Answer:
        auth = for_httpx.Auth(source, FakeAsyncSource(source), NAME)
        async with httpx.AsyncClient(auth=auth, follow_redirects=True, trust_env=False, verify=False) as client:
            return _answer(await client.request(method, url, **what))

    return asyncio.run(call())


def _requests_auth(source: FakeSource, method: str, url: str, **what: object) -> Answer:
    if "content" in what:
        what["data"] = what.pop("content")
    return _answer(requests.request(method, url, auth=for_requests.Auth(source, NAME), **what))


PER_HOP = {"httpx": _httpx, "httpx async": _httpx_async, "requests": _requests, "aiohttp": _aiohttp}
SHORT = {"httpx auth": _httpx_auth, "httpx async auth": _httpx_auth_async, "requests auth": _requests_auth}


@pytest.fixture(params=PER_HOP)
def call(request: pytest.FixtureRequest) -> Call:
    """Give each client with its per-hop injector."""
    return PER_HOP[request.param]


@pytest.fixture(params=SHORT)
def short(request: pytest.FixtureRequest) -> Call:
    """Give each client with its short form."""
    return SHORT[request.param]


@pytest.fixture(params=PER_HOP | SHORT)
def either(request: pytest.FixtureRequest) -> Call:
    """Give each client with each of its forms."""
    return (PER_HOP | SHORT)[request.param]

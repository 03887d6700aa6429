"""A sandbox per test, and a hand that speaks HTTP to it without any of our own client code.

What may not be here: expectations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import urllib3

from valetkey.testing import Sandbox

# RFC 7636 appendix B: a verifier and its challenge, computed by its authors.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:49152/callback"


class Reply:
    """An answer, with its JSON."""

    def __init__(self, raw: urllib3.BaseHTTPResponse) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self.text = raw.data.decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def error(self) -> str:
        return self.json.get("error", "")

    @property
    def location(self) -> dict[str, str]:
        return answer_of(self.headers["location"])


def answer_of(url: str) -> dict[str, str]:
    """Return the parameters of a redirect."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


class Hand:
    """Speak to one sandbox."""

    verifier, challenge, callback = VERIFIER, CHALLENGE, CALLBACK

    def __init__(self, sandbox: Sandbox, http: urllib3.PoolManager) -> None:
        self.sandbox = sandbox
        self.http = http

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(self.http.request(method, self.sandbox.url + path, body=body, headers=named, redirect=False))

    def secret(self, client: str) -> str:
        secret = self.sandbox.clients[client].secret
        return secret.reveal() if secret else ""

    def post(self, path: str, client: str = "sandbox-web", **fields: str) -> Reply:
        """Post a form as a client that puts its secret into the body."""
        own = {"client_id": client, "client_secret": self.secret(client)}
        body = urlencode({name: value for name, value in {**own, **fields}.items() if value})
        return self.ask("POST", path, body, content_type="application/x-www-form-urlencoded")

    def token(self, grant_type: str, client: str = "sandbox-web", **fields: str) -> Reply:
        return self.post("/token", client, grant_type=grant_type, **fields)

    def authorization_url(self, **changed: str) -> str:
        """Return a right authorization request, but for what is changed; an empty value leaves a parameter out."""
        asked = {
            "response_type": "code",
            "client_id": "sandbox-web",
            "redirect_uri": CALLBACK,
            "scope": "profile read write",
            "state": "af0ifjsldkj",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changed,
        }
        return f"{self.sandbox.url}/authorize?{urlencode({n: v for n, v in asked.items() if v})}"

    def code(self, user: str = "alice", **changed: str) -> str:
        return answer_of(self.sandbox.login(self.authorization_url(**changed), user))["code"]

    def redeem(self, code: str, client: str = "sandbox-web", **changed: str) -> Reply:
        fields = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **changed}
        return self.token("authorization_code", client, **fields)

    def connect(self, user: str = "alice", **changed: str) -> dict[str, str]:
        """Go the whole way and return the token answer."""
        reply = self.redeem(self.code(user, **changed))
        assert reply.status == 200, reply.text
        return reply.json

    def refresh(self, refresh_token: str, client: str = "sandbox-web", **fields: str) -> Reply:
        return self.token("refresh_token", client, refresh_token=refresh_token, **fields)

    def whoami(self, access_token: str) -> Reply:
        return self.ask("GET", "/api/whoami", authorization=f"Bearer {access_token}")


@pytest.fixture
def opened() -> Iterator[Callable[..., Hand]]:
    """Return a function that starts a sandbox; all are stopped afterwards."""
    with ExitStack() as stack:
        http = stack.enter_context(urllib3.PoolManager(retries=False, timeout=20))

        def start(*args, **kwargs) -> Hand:
            return Hand(stack.enter_context(Sandbox(*args, **kwargs)), http)

        yield start


@pytest.fixture
def hand(opened: Callable[..., Hand]) -> Hand:
    """Return a hand at a sandbox with its usual manner: rotating, reuse punished."""
    return opened()

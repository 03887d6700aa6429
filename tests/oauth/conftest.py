"""What the tests of the client's half share: a provider, a client, a moment, and readers of what was asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl

import msgspec
import pytest

from valetkey.oauth.authentication import Basic
from valetkey.oauth.client import Client, Stamp
from valetkey.providers.schema import Endpoints, Provider
from valetkey.values import Response, Secret

SERVER = "https://server.example.com"

PROVIDER = Provider(
    key="example",
    name="Example",
    endpoints=Endpoints(
        token=f"{SERVER}/token",
        authorize=f"{SERVER}/authorize",
        device=f"{SERVER}/device_authorization",
        revoke=f"{SERVER}/revoke",
        introspect=f"{SERVER}/introspect",
    ),
)


@pytest.fixture
def stamp() -> Stamp:
    return Stamp(datetime(2026, 11, 23, 12, 0, tzinfo=UTC), "one-of-a-kind")


@pytest.fixture
def provider():
    """Return a maker of providers that differ from the plain one in the groups given as dictionaries."""

    def make(**changes):
        groups = {
            name: msgspec.structs.replace(getattr(PROVIDER, name), **change) if isinstance(change, dict) else change
            for name, change in changes.items()
        }
        return msgspec.structs.replace(PROVIDER, **groups)

    return make


@pytest.fixture
def client(provider):
    """Return a maker of clients: RFC 6749's own by default (client id s6BhdRkqt3)."""

    def make(auth=None, client_id="s6BhdRkqt3", **changes):
        return Client(provider(**changes), client_id, auth or Basic(Secret("gX1fBat3bV")))

    return make


@pytest.fixture
def asked():
    """Return a reader of requests: method, URL, headers, and the form or JSON as a dictionary."""

    def read(request):
        kind = request.headers["content-type"]
        if kind == "application/json":
            members = json.loads(request.body)
        else:
            assert kind == "application/x-www-form-urlencoded"
            pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
            members = dict(pairs)
            assert len(members) == len(pairs), "a parameter is sent twice"
        return SimpleNamespace(method=request.method, url=request.url, headers=request.headers, form=members)

    return read


@pytest.fixture
def answer():
    """Return a maker of answers: a dictionary becomes JSON, a text its bytes."""

    def make(body=b"", status=200, content_type="application/json", **headers):
        raw = json.dumps(body).encode() if isinstance(body, dict | list) else body
        raw = raw.encode() if isinstance(raw, str) else raw
        return Response(status, {"content-type": content_type, **headers}, raw)

    return make

"""Discovery from the command line: where an issuer's own description may be looked for, and may lead."""

from __future__ import annotations

import json

import pytest

from valetkey.cli.describing import described
from valetkey.errors import ProviderError
from valetkey.transport import sync
from valetkey.values import Response

ISSUER = "https://idp.example"


@pytest.fixture
def asked(monkeypatch):
    """Return the requests that are sent; the issuer names a token endpoint in a private network."""
    sent = []

    class Transport:
        def send(self, request):
            sent.append(request)
            body = {"issuer": ISSUER, "token_endpoint": "https://10.0.0.5/token"}
            return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())

        def close(self):
            pass

    monkeypatch.setattr(sync, "Transport", Transport)
    return sent


def test_an_issuer_is_asked_at_public_addresses_and_leads_to_no_others(asked):
    with pytest.raises(ProviderError, match="not one a stranger may name"):
        described("corp", None, ISSUER, {})
    assert [request.public_only for request in asked] == [True, True]


def test_an_issuer_of_one_s_own_network_may_be_allowed(asked):
    key, provider = described("corp", None, ISSUER, {}, allow_private=True)
    assert (key, provider.endpoints.token) == ("discovered", "https://10.0.0.5/token")
    assert [request.public_only for request in asked] == [False]
    assert not provider.asking.public_only


def test_endpoints_given_beside_an_issuer_leave_the_rule_as_it_is(asked):
    urls = {"authorize": "https://idp.example/authorize"}
    _key, provider = described("corp", None, ISSUER, urls, allow_private=True)
    assert (provider.endpoints.authorize, provider.asking.public_only) == (urls["authorize"], False)

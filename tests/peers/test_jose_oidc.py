"""`RemoteKeys` against npm oidc-provider: found by its metadata, and followed when it starts anew with other keys."""

from __future__ import annotations

import datetime as dt
import time
from urllib.parse import urlsplit

import httpx
import pytest

from valetkey import tokens
from valetkey.errors import TokenRefused
from valetkey.jose.remote import COOLDOWN
from valetkey.transport import Transport

API = "https://api.example"


def access_token(oidc, resource=API):
    form = {"grant_type": "client_credentials", "scope": "api:read", "resource": resource}
    with httpx.Client(trust_env=False, verify=False) as client:
        answer = client.post(oidc.token, data=form, auth=("m2m", oidc.clients["m2m"].secret))
    return answer.json()["access_token"]


def policy(oidc, audience=API):
    return tokens.Policy(issuer=oidc.issuer, audience=audience, typ="at+jwt", scope="api:read")


@pytest.fixture
def transport():
    with Transport() as made:
        yield made


@pytest.mark.parametrize(("resource", "alg"), [(API, "RS256"), ("https://es256.example", "ES256")])
def test_its_access_tokens_are_verified_with_the_keys_it_publishes(oidc, transport, resource, alg):
    remote = tokens.RemoteKeys(oidc.issuer)
    verifier = tokens.Verifier(policy(oidc, resource), remote, transport=transport)
    token = access_token(oidc, resource)
    claims = verifier.verify(token)
    assert (claims.client_id, claims.audience, claims.issuer) == ("m2m", (resource,), oidc.issuer)
    assert verifier.explain(token).header["alg"] == alg
    assert remote.health(time.time())["state"] == "fresh"
    with pytest.raises(TokenRefused) as refusal:
        tokens.Verifier(policy(oidc, "https://other.example"), remote, transport=transport).verify(token)
    assert refusal.value.reason == "aud_mismatch"


async def test_the_same_without_blocking(oidc):
    async with tokens.AsyncVerifier(policy(oidc), tokens.RemoteKeys(oidc.issuer)) as verifier:
        assert (await verifier.verify(access_token(oidc))).client_id == "m2m"


def test_a_restart_with_the_same_kid_and_new_keys_is_followed(start_oidc, stop_oidc, transport, monkeypatch):
    before = start_oidc(access_token_ttl=300)
    verifier = tokens.Verifier(policy(before), tokens.RemoteKeys(before.issuer), transport=transport)
    old = access_token(before)
    assert verifier.verify(old)
    stop_oidc(before)
    after = start_oidc(access_token_ttl=300, port=urlsplit(before.issuer).port)
    assert after.issuer == before.issuer
    new = access_token(after)
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(new)  # the kid is known, and the cooldown of the first fetch not over
    assert refusal.value.reason == "bad_signature"
    real = time.time
    ahead = dt.timedelta(seconds=COOLDOWN + 1)

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + ahead

    monkeypatch.setattr(tokens.time, "time", lambda: real() + ahead.total_seconds())
    monkeypatch.setattr(tokens, "datetime", Later)
    assert verifier.verify(new).client_id == "m2m"
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(old)  # remembered under the old keys, which are not believed any more
    assert refusal.value.reason == "bad_signature"

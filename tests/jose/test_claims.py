"""Claims: what a verified token says, typed and read-only."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from valetkey.jose import verify

NOW = 1_790_000_000


@pytest.fixture
def claims(forge):
    payload = forge.payload(
        nbf=NOW - 5, client_id="c1", aud=[forge.audience, "x"], roles=["a", {"b": [1]}], iat=NOW - 0.5
    )
    return verify(forge.hs256(payload), forge.hs, forge.policy(), now=NOW)


def test_registered_claims_have_typed_accessors(forge, claims):
    assert claims.issuer == forge.issuer
    assert claims.subject == "ci"
    assert claims.audience == (forge.audience, "x")
    assert claims.token_id == "j1"
    assert claims.client_id == "c1"
    assert claims.scopes == ("read", "write")
    assert claims.expires_at == datetime(2026, 9, 21, 14, 23, 20, tzinfo=UTC)
    assert claims.not_before == datetime(2026, 9, 21, 14, 13, 15, tzinfo=UTC)
    assert claims.issued_at == datetime(2026, 9, 21, 14, 13, 19, 500_000, tzinfo=UTC)


def test_what_is_not_there_is_empty(forge):
    payload = forge.payload(sub=..., jti=..., scope=..., iat=..., exp=...)
    found = verify(forge.hs256(payload), forge.hs, forge.policy(allow_no_expiry=True), now=NOW)
    assert (found.subject, found.token_id, found.client_id) == ("", "", "")
    assert found.scopes == ()
    assert (found.expires_at, found.issued_at, found.not_before) == (None, None, None)
    assert found.audience == (forge.audience,)


@pytest.mark.parametrize(("scp", "found"), [("a b", ("a", "b")), (["a", "b"], ("a", "b")), ("", ()), ([], ())])
def test_scopes_may_stand_in_another_claim(forge, scp, found):
    policy = forge.policy(scope_claim="scp")
    assert verify(forge.hs256(forge.payload(scp=scp)), forge.hs, policy, now=NOW).scopes == found


def test_claims_are_a_mapping(claims):
    assert claims["jti"] == "j1"
    assert claims.get("nothing") is None
    assert "sub" in claims
    assert len(claims) == 10
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "jti", "scope", "nbf", "client_id", "roles"}
    assert claims == claims.to_dict() | {"aud": claims["aud"], "roles": claims["roles"]}


def test_a_copy_may_be_changed(claims):
    copy = claims.to_dict()
    copy["roles"][1]["b"].append(2)
    assert copy["roles"] == ["a", {"b": [1, 2]}]
    assert claims.to_dict()["roles"] == ["a", {"b": [1]}]


def test_only_what_a_log_may_hold_is_shown(forge, canary):
    private = canary.make("claim")
    found = verify(forge.hs256(forge.payload(email=private)), forge.hs, forge.policy(), now=NOW)
    assert repr(found) == "<Claims iss='https://auth.example' sub='ci' jti='j1'>"
    canary.assert_absent(repr(found), str(found))

"""Verdicts on tokens in a vault's audit log: each is there, none holds a token, and nothing is issued without its line."""

from __future__ import annotations

import pytest

import valetkey
from valetkey import tokens
from valetkey.audit import verdicts
from valetkey.errors import InvalidInput, StoreUnavailable, TokenRefused
from valetkey.values import Secret

ISSUER, AUDIENCE = "https://auth.example", "https://api.example"
POLICY = tokens.Policy(issuer=ISSUER, audience=AUDIENCE)
KEY = tokens.Key.generate("ES256", kid="one")


@pytest.fixture
def vault(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as opened:
        yield opened


def signed(**changes):
    return tokens.sign(KEY, **{"issuer": ISSUER, "audience": AUDIENCE, "subject": "alice", "scope": "read", **changes})


def lines(vault):
    return [line for line in vault.events(100) if line.kind.startswith("jwt.")]


def test_a_token_that_is_issued_is_in_the_log_before_it_is_given_back(vault):
    token = vault.issued(signed())
    (line,) = lines(vault)
    claims = tokens.verify(token, KEY.public(), POLICY)
    assert (line.kind, line.subject, line.fingerprint) == ("jwt.issued", ISSUER, Secret(token).fingerprint())
    assert line.detail == {
        "subject": "alice",
        "audience": AUDIENCE,
        "scope": "read",
        "token_id": claims.token_id,
        "expires": str(claims["exp"]),
        "key": "one",
    }


def test_where_the_line_cannot_be_written_nothing_is_issued(vault, monkeypatch):
    def full(*_):
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as down:
        down.setattr(vault._world.store.ledger, "append", full)
        with pytest.raises(StoreUnavailable):
            vault.issued(signed())
    assert lines(vault) == []


@pytest.mark.parametrize("text", ["", "x.y.z", "a.b", "e30.e30", "W10.W10.x", "e30.e30.x.y", "\ud800.e30.x"])
def test_what_is_no_token_is_not_issued(vault, text):
    with pytest.raises(InvalidInput):
        vault.issued(text)


def test_verdicts_are_told_and_a_token_that_comes_again_is_counted(vault):
    verifier = vault.verifier(POLICY, KEY.public())
    good, stranger = signed(), signed(issuer="https://other.example")
    for _ in range(5):
        assert verifier.verify(good).subject == "alice"
    with pytest.raises(TokenRefused):
        verifier.verify(stranger)
    found = lines(vault)
    assert [(line.kind, line.outcome, line.reason, line.detail.get("count", "")) for line in found] == [
        ("jwt.verified", "ok", "", ""),
        ("jwt.refused", "refused", "iss_mismatch", ""),
        ("jwt.verified", "ok", "", "4"),
    ]
    assert found[0].detail["subject"] == "alice"
    assert (found[1].subject, set(found[1].detail)) == (ISSUER, set()), "of what was refused nothing is believed"
    assert found[1].fingerprint == Secret(stranger).fingerprint()


async def test_for_asyncio_too(tmp_path):
    async with valetkey.open_async(tmp_path / "vault.db") as vault:
        token = await vault.issued(signed())
        async with vault.verifier(POLICY, KEY.public()) as verifier:
            await verifier.verify(token)
            with pytest.raises(TokenRefused):
                await verifier.verify(token + "x")
        found = [line.kind for line in await vault.events() if line.kind.startswith("jwt.")]
    assert found == ["jwt.issued", "jwt.verified", "jwt.refused"]


@pytest.mark.parametrize("token", [7, None, b"\xff", "x" * 100_000, "", "\ud800"])
def test_what_is_no_token_at_all_is_refused_and_told(vault, token):
    with pytest.raises(TokenRefused):
        vault.verifier(POLICY, KEY.public()).verify(token)
    (line,) = lines(vault)
    assert line.kind == "jwt.refused"


def test_no_token_is_in_what_is_told(vault, canary):
    token, forged = signed(), signed(subject=canary.make("a claim of a token that was refused"))[:-4]
    for one in (token, forged):
        canary.watch("signature", one.rpartition(".")[2])
        canary.watch("payload", one.split(".")[1])
    vault.issued(token)
    verifier = vault.verifier(POLICY, KEY.public())
    verifier.verify(token)
    with pytest.raises(TokenRefused):
        verifier.verify(forged)
    canary.assert_absent(*(repr(line) for line in lines(vault)))
    canary.assert_absent(*(repr(verdicts.issued(one)) for one in (token,)))

"""Section F of the attack cases: the memory of verified tokens never says more than verifying again would."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Key, KeySet, verify
from valetkey.jose.cache import Cache

NOW = 1_790_000_000


def refused(token, keys, policy, now=NOW):
    with pytest.raises(TokenRefused) as refusal:
        verify(token, keys, policy, now=now)
    return refusal.value.reason


def test_the_same_token_again_is_not_verified_again(forge):
    keys, policy, token = forge.keyset(), forge.policy(), forge.hs256()
    first = verify(token, keys, policy, now=NOW)
    assert verify(token, keys, policy, now=NOW + 1) is first
    assert verify(token.encode(), keys, policy, now=NOW + 1) is first


def test_without_a_cache_it_is(forge):
    keys, policy, token = forge.keyset(), forge.policy(cache=False), forge.hs256()
    assert verify(token, keys, policy, now=NOW) is not verify(token, keys, policy, now=NOW)
    assert policy.memory is None


@pytest.mark.parametrize("iat", [..., NOW])
def test_a_remembered_token_expires_on_time(forge, iat):
    # F01
    keys, policy = forge.keyset(), forge.policy()
    token = forge.hs256(forge.payload(iat=iat, exp=NOW + 10))
    assert verify(token, keys, policy, now=NOW + 9.999)
    assert refused(token, keys, policy, NOW + 10) == "expired"


def test_a_remembered_token_grows_too_old_on_time(forge):
    keys, policy = forge.keyset(), forge.policy(max_age=timedelta(seconds=60))
    token = forge.hs256(forge.payload(iat=NOW))
    assert verify(token, keys, policy, now=NOW + 60)
    assert refused(token, keys, policy, NOW + 61) == "too_old"


def test_a_clock_that_goes_back_is_judged_anew(forge):
    keys, policy = forge.keyset(), forge.policy()
    token = forge.hs256(forge.payload(nbf=NOW, iat=NOW))
    verify(token, keys, policy, now=NOW)
    assert refused(token, keys, policy, NOW - 10) == "not_yet_valid"


def test_refusals_are_never_remembered_and_never_push_out_a_good_token(forge):
    # F02
    keys, policy = forge.keyset(), forge.policy(cache=10)
    good = verify(forge.hs256(), keys, policy, now=NOW)
    for number in range(50):
        forged = forge.hs256(forge.payload(jti=f"forged{number}"), secret=b"z" * 64)
        assert refused(forged, keys, policy) == "bad_signature"
    assert verify(forge.hs256(), keys, policy, now=NOW) is good
    assert len(policy.memory) == 1


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"audience": "https://other.example"}, "aud_mismatch"),
        ({"issuer": "https://other.example"}, "iss_mismatch"),
        ({"algorithms": "HS512"}, "alg_not_allowed"),
        ({"scope": "admin"}, "scope_insufficient"),
    ],
)
def test_another_policy_does_not_see_the_entry(forge, setting, reason):
    # F03
    keys = forge.keyset()
    verify(forge.hs256(), keys, forge.policy(), now=NOW)
    assert refused(forge.hs256(), keys, forge.policy(**setting)) == reason


def test_other_keys_do_not_see_the_entry(forge):
    # F03
    policy, other = forge.policy(), KeySet([Key.secret(b"o" * 64, kid="hs")])
    verify(forge.hs256(), forge.keyset(), policy, now=NOW)
    assert refused(forge.hs256(), other, policy) == "bad_signature"


def test_a_withdrawn_key_is_obeyed_at_once(forge):
    # F04
    keys, policy = KeySet([forge.es, forge.rs]), forge.policy()
    token = forge.es256()
    verify(token, keys, policy, now=NOW)
    left = keys.without("es")
    assert refused(token, left, policy) == "alg_not_allowed"
    assert verify(forge.rs256(), left, policy, now=NOW)


def test_what_a_caller_does_to_the_claims_does_not_reach_the_next(forge):
    # F05
    keys, policy = forge.keyset(), forge.policy()
    payload = forge.payload(roles=["a", {"b": ["c"]}], map={"x": {"y": 1}})
    token = forge.hs256(payload)
    claims = verify(token, keys, policy, now=NOW)
    with pytest.raises(TypeError):
        claims["sub"] = "root"
    with pytest.raises(TypeError):
        claims["map"]["x"]["y"] = 2
    with pytest.raises(TypeError):
        claims["roles"][1]["b"] = 2
    with pytest.raises(AttributeError):
        claims["roles"].append("admin")
    claims.to_dict()["roles"].append("admin")
    claims.to_dict()["map"]["x"]["y"] = 2
    assert verify(token, keys, policy, now=NOW).to_dict() == payload


def test_another_spelling_of_a_token_is_not_the_same_token(forge):
    # F06, A12: what counts uses by the token's text cannot be deceived by a second spelling, for there is none.
    keys, policy, token = forge.keyset(), forge.policy(), forge.hs256()
    verify(token, keys, policy, now=NOW)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    again = token[:-1] + last[last.index(token[-1]) + 1]
    assert refused(again, keys, policy) == "malformed_base64url"
    assert refused(token + "=", keys, policy) == "malformed_base64url"


def test_memory_is_bounded(forge):
    keys, policy = forge.keyset(), forge.policy(cache=10)
    for number in range(100):
        verify(forge.hs256(forge.payload(jti=str(number))), keys, policy, now=NOW)
        assert len(policy.memory) <= 10
    assert len(policy.memory) > 4


def test_the_memory_holds_no_token(forge, canary):
    policy, token = forge.policy(), canary.watch("token", forge.hs256())
    verify(token, forge.keyset(), policy, now=NOW)
    held = [(digest, [str(part) for part in entry]) for digest, entry in policy.memory.young.items()]
    assert held
    canary.assert_absent(repr(held), repr(policy))


def test_an_entry_that_is_used_moves_to_the_young_generation():
    cache = Cache(4)
    entry = (None, 0, 1, "x")
    cache.put(b"kept", entry)
    for name in (b"1", b"2"):
        cache.put(name, entry)
    assert cache.promoted(b"kept") is entry
    for name in (b"3",):
        cache.put(name, entry)
    assert cache.promoted(b"kept") is entry
    assert cache.promoted(b"unknown") is None
    assert len(cache) <= 4
    cache.clear()
    assert len(cache) == 0


def test_a_single_key_stands_for_the_same_set_every_time(forge):
    policy, token = forge.policy(), forge.hs256()
    first = verify(token, forge.hs, policy, now=NOW)
    assert verify(token, forge.hs, policy, now=NOW) is first


def test_claims_are_equal_to_the_mapping_they_hold(forge):
    claims = verify(forge.hs256(), forge.keyset(), forge.policy(), now=NOW)
    assert dict(claims) == forge.payload()
    assert json.loads(json.dumps(claims.to_dict())) == forge.payload()

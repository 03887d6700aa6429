"""F06 and F07: a token that counts once counts once, whatever its spelling and however many come at a time."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Replays, verify
from valetkey.jose.replay import KEPT_AFTER, SWEEP_EVERY

NOW = 1_790_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def taken(replays, claims, now=NOW):
    try:
        replays.take(claims, now=now)
    except TokenRefused as refusal:
        return refusal.reason
    return "taken"


@pytest.fixture
def claims_of(forge):
    policy = forge.policy(allow_no_expiry=True)
    return lambda **changes: verify(forge.hs256(forge.payload(**changes)), forge.hs, policy, now=NOW)


def test_a_token_is_taken_once(claims_of):
    replays = Replays()
    assert [taken(replays, claims_of()) for _ in range(3)] == ["taken", "token_replayed", "token_replayed"]
    assert taken(replays, claims_of(jti="other")) == "taken"


def test_the_twin_of_an_ecdsa_signature_is_the_same_token(forge):
    head, signature = forge.es256().rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{head}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"
    replays, policy = Replays(), forge.policy()
    first, second = (verify(text, forge.es, policy, now=NOW) for text in (f"{head}.{signature}", twin))
    assert [taken(replays, first), taken(replays, second)] == ["taken", "token_replayed"]


def test_of_a_hundred_at_a_time_exactly_one_is_taken(claims_of):
    replays, claims = Replays(), claims_of()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: taken(replays, claims), range(100)))
    assert sorted(found) == ["taken"] + ["token_replayed"] * 99


@pytest.mark.parametrize("changes", [{"jti": ...}, {"jti": ""}, {"exp": ...}])
def test_a_token_that_cannot_be_told_apart_or_forgotten_is_not_taken(claims_of, changes):
    assert taken(Replays(), claims_of(**changes)) == "claim_missing"


def test_a_full_memory_refuses_and_forgets_only_the_expired(claims_of):
    replays = Replays(limit=3)
    for number in range(3):
        assert taken(replays, claims_of(jti=str(number), exp=NOW + 10)) == "taken"
    late = claims_of(jti="late", exp=NOW + 5000)
    assert taken(replays, late) == "replay_memory_full"
    assert taken(replays, late, NOW + 10 + KEPT_AFTER - 1) == "replay_memory_full"
    assert taken(replays, late, NOW + 10 + KEPT_AFTER) == "taken"
    assert len(replays) == 1


def test_the_expired_are_forgotten_now_and_then(claims_of):
    replays = Replays()
    for number in range(SWEEP_EVERY - 1):
        replays.take(claims_of(jti=str(number), exp=NOW + 1), now=NOW)
    replays.take(claims_of(jti="last"), now=NOW + 1 + KEPT_AFTER)
    assert len(replays) == 1

"""Section E of the attack cases: when published keys are fetched, and who waits. No network and no clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from valetkey.effects import Now, Send
from valetkey.errors import ProviderTimeout, ProviderUnavailable, TokenRefused
from valetkey.jose import Key, KeySet, Policy, RemoteKeys, verified
from valetkey.jose import sign as jose_sign
from valetkey.jose.remote import COOLDOWN, MAX_STALE, SIZE_LIMIT, TIMEOUT, TTL
from valetkey.values import Response

START = 1_790_000_000.0
ISSUER = "https://auth.example"
URL = "https://auth.example/jwks"


def published(*keys, status=200, headers=None, **document):
    entries = [key.to_jwk() if isinstance(key, Key) else key for key in keys]
    return Response(status, headers or {}, json.dumps({"keys": entries, **document}).encode())


@pytest.fixture(scope="module")
def key():
    return Key.generate("ES256", kid="one")


@pytest.fixture(scope="module")
def other():
    return Key.generate("ES256", kid="two")


@pytest.fixture
def policy():
    return Policy(issuer=ISSUER, audience="a")


@pytest.fixture
def remote():
    return RemoteKeys(ISSUER, URL)


def token(key, at=START, jti="x", **claims):
    return jose_sign(key, now=at, jti=jti, issuer=ISSUER, audience="a", claims=claims)


def reason(world, plan):
    with pytest.raises(TokenRefused) as refusal:
        world.one(plan)
    return refusal.value.reason


def test_the_first_token_fetches_the_keys_and_the_next_does_not(new_world, key, policy, remote):
    world = new_world(published(key))
    for number in range(3):
        assert world.one(verified(token(key, jti=str(number)), policy, remote)).token_id == str(number)
    assert len(world.sent) == 1
    request = world.sent[0]
    assert (request.method, request.url, request.public_only) == ("GET", URL, True)
    assert request.timeout <= TIMEOUT
    assert request.limit == SIZE_LIMIT


def test_unknown_kids_cause_one_fetch_per_cooldown(new_world, key, other, policy, remote):
    # E05
    world = new_world(published(key))
    for number in range(50):
        assert reason(world, verified(token(other, jti=str(number)), policy, remote)) == "no_matching_key"
        world.clock += 0.1
    assert len(world.sent) == 1
    world.clock += COOLDOWN
    for number in range(50):
        assert reason(world, verified(token(other, world.clock, jti=str(number)), policy, remote)) == "no_matching_key"
    assert len(world.sent) == 2


@pytest.mark.parametrize("answer", [Response(500), ProviderTimeout("late"), ProviderUnavailable("refused")])
def test_a_failing_endpoint_is_asked_once_per_cooldown_too(new_world, key, policy, remote, answer):
    # E06: at first, with no keys at all
    world = new_world(answer)
    for number in range(50):
        assert reason(world, verified(token(key, jti=str(number)), policy, remote)).startswith("jwks_")
    assert len(world.sent) == 1


def test_the_pause_after_failures_grows_to_the_cooldown(new_world, key, policy, remote):
    world = new_world(Response(500))
    moments = []
    for _ in range(1200):
        before = len(world.sent)
        reason(world, verified(token(key, world.clock), policy, remote))
        if len(world.sent) > before:
            moments.append(world.clock)
        world.clock += 0.1
    gaps = [round(b - a) for a, b in pairwise(moments)]
    assert gaps == [5, 10, 20, 30, 30]


def test_unknown_kids_do_not_hammer_an_endpoint_that_fails_later(new_world, key, other, policy, remote):
    # E06: with keys known
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    world.clock += COOLDOWN
    world.answer = Response(503)
    for number in range(50):
        assert reason(world, verified(token(other, world.clock, jti=str(number)), policy, remote)) == "no_matching_key"
    assert len(world.sent) == 2


def test_a_known_key_does_not_wait_for_a_fetch(new_world, key, other, policy, remote):
    # E07
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    world.clock += COOLDOWN
    world.latency = 4.0
    done = []

    def timed(plan, name):
        result = yield from plan
        done.append((name, world.clock))
        return result

    began = world.clock
    unknown = verified(token(other, began), policy, remote)
    known = [timed(verified(token(key, began, jti=str(n)), policy, remote), n) for n in range(5)]
    results = world.run(unknown, *known)
    assert isinstance(results[0], TokenRefused)
    assert done == [(n, began) for n in range(5)]


def test_a_thousand_first_requests_make_one_fetch(new_world, key, policy, remote):
    # E18
    world = new_world(published(key))
    world.latency = 1.5
    results = world.run(*[verified(token(key, jti=str(n)), policy, remote) for n in range(1000)])
    assert [claims.token_id for claims in results] == [str(n) for n in range(1000)]
    assert len(world.sent) == 1


def test_when_the_first_fetch_fails_all_who_wait_are_told_and_nobody_asks_again(new_world, key, policy, remote):
    world = new_world(ProviderTimeout("late"))
    world.latency = 5.0
    results = world.run(*[verified(token(key, jti=str(n)), policy, remote) for n in range(50)])
    assert {refusal.reason for refusal in results} == {"jwks_timeout"}
    assert len(world.sent) == 1


def test_keys_outlive_an_outage_for_a_bounded_time(new_world, key, policy, remote):
    # E08
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    world.answer = ProviderUnavailable("down")
    world.clock = START + TTL + MAX_STALE - 10
    assert world.one(verified(token(key, world.clock), policy, remote))
    world.clock = START + TTL + MAX_STALE + 31
    assert reason(world, verified(token(key, world.clock), policy, remote)) == "jwks_unavailable"
    assert len(world.sent) == 3


def test_a_withdrawn_key_is_refused_when_its_time_is_over_also_for_remembered_tokens(
    new_world, key, other, policy, remote
):
    # E09
    world = new_world(published(key, other))
    long = token(key)
    assert world.one(verified(long, policy, remote)).token_id == "x"
    world.answer = published(other)
    world.clock += TTL
    assert reason(world, verified(long, policy, remote)) == "no_matching_key"
    assert world.one(verified(token(other, world.clock), policy, remote))


def test_a_kid_that_is_used_again_for_another_key_is_found_by_one_more_fetch(new_world, key, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    again = Key.generate("ES256", kid="one")
    world.answer = published(again)
    assert reason(world, verified(token(again), policy, remote)) == "bad_signature"  # in the cooldown
    world.clock += COOLDOWN
    assert world.one(verified(token(again), policy, remote))
    assert len(world.sent) == 2


def test_an_issuer_that_changes_its_algorithm_is_followed(new_world, key, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    newer = Key.generate("EdDSA", kid="ed")
    world.answer = published(key, newer)
    world.clock += COOLDOWN
    assert world.one(verified(token(newer), policy, remote))


def test_tokens_that_are_wrong_otherwise_cause_no_fetch(new_world, key, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    world.clock += COOLDOWN
    for bad in ("a.b", token(key) + "=", token(key, START - 900), token(key, START + 3600)):
        with pytest.raises(TokenRefused):
            world.one(verified(bad, policy, remote))
    assert len(world.sent) == 1


def test_keys_are_renewed_in_the_background_before_their_time_is_over(new_world, key, other, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    assert not remote.due(START + 0.7 * TTL)
    world.one(remote.refresh())
    assert len(world.sent) == 1
    world.clock = START + 0.76 * TTL
    assert remote.due(world.clock)
    world.answer = published(other)
    world.latency = 1.0
    world.run(*[remote.refresh() for _ in range(10)])
    assert len(world.sent) == 2
    assert not remote.due(world.clock)
    assert world.one(verified(token(other, world.clock), policy, remote))


def test_a_background_failure_is_kept_for_the_health_page_and_raised_to_nobody(new_world, key, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    world.clock = START + 0.8 * TTL
    world.answer = Response(500)
    world.one(remote.refresh())
    health = remote.health(world.clock)
    assert (health["state"], health["failures"], health["last_reason"]) == ("fresh", 1, "jwks_unavailable")
    assert health["next_fetch_in"] == 5.0
    assert not remote.due(world.clock + 4)
    assert remote.due(world.clock + 5)


def test_health_tells_the_states_apart(new_world, key, policy, remote):
    assert remote.health(START)["state"] == "none"
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    assert remote.health(START)["state"] == "fresh"
    assert remote.health(START + TTL)["state"] == "stale"
    assert remote.health(START + TTL + MAX_STALE)["state"] == "expired"
    assert "auth.example" in repr(remote)


def test_a_fetch_whose_owner_vanished_is_taken_over(new_world, key, policy, remote):
    world = new_world(published(key))
    lost = verified(token(key), policy, remote)
    assert isinstance(next(lost), Now)
    question = lost.send(datetime.fromtimestamp(START, UTC))
    assert isinstance(question, Now)
    assert isinstance(lost.send(datetime.fromtimestamp(START, UTC)), Send)
    # Nobody answers it. Another one waits, and then goes by itself.
    assert world.one(verified(token(key), policy, remote))
    assert world.clock >= START + TIMEOUT
    assert len(world.sent) == 1
    lost.close()
    assert remote.ready(world.clock) is not None


def test_a_fetch_whose_owner_is_cancelled_is_taken_over_at_once(new_world, key, policy, remote):
    world = new_world(published(key))
    cancelled = verified(token(key), policy, remote)
    next(cancelled)
    cancelled.send(datetime.fromtimestamp(START, UTC))
    cancelled.send(datetime.fromtimestamp(START, UTC))
    cancelled.close()
    assert world.one(verified(token(key), policy, remote))
    assert world.clock == START


def test_a_set_may_be_compared_with_another(key, other):
    assert KeySet([key, other]).same_as(KeySet([other.public(), key.public()]))
    assert not KeySet([key]).same_as(KeySet([key], issuer="i"))
    assert not KeySet([key]).same_as(KeySet([other]))


def begin(plan):
    """Drive a plan to its Send, which nobody answers."""
    question = next(plan)
    while not isinstance(question, Send):
        question = plan.send(datetime.fromtimestamp(START, UTC))
    return plan


def stand_still(plan, moment=START):
    """Drive a plan while the clock stands still; return how it ends."""
    question = next(plan)
    try:
        while True:
            question = plan.send(datetime.fromtimestamp(moment, UTC) if isinstance(question, Now) else None)
    except StopIteration as end:
        return end.value
    except TokenRefused as refusal:
        return refusal.reason


def test_nobody_waits_for_ever_when_the_clock_stands_still(new_world, key, policy, remote):
    fetching = begin(remote.current())
    assert stand_still(verified(token(key), policy, remote)) == "jwks_unavailable"
    fetching.close()
    new_world(published(key)).one(verified(token(key), policy, remote))
    later = START + COOLDOWN
    known = remote.ready(START)
    again = remote.newer(known)
    question = next(again)
    while not isinstance(question, Send):
        question = again.send(datetime.fromtimestamp(later, UTC))
    assert stand_still(remote.newer(known), later) is None
    again.close()


def test_a_claim_won_just_after_another_fetch_landed_is_given_back(new_world, key, policy, remote):
    class Landing(dict):
        """Let another thread finish its fetch between our look at the cooldown and our claim."""

        def setdefault(self, name, value):
            remote._next_fetch = START + COOLDOWN
            return super().setdefault(name, value)

    remote._flights = Landing()
    world = new_world(published(key))
    assert reason(world, verified(token(key), policy, remote)) == "jwks_unavailable"
    assert world.sent == []
    assert remote._flights == {}


def test_keys_that_somebody_else_fetched_meanwhile_are_taken_without_asking(new_world, key, other, policy, remote):
    world = new_world(published(key))
    world.one(verified(token(key), policy, remote))
    old = remote.ready(START)
    world.clock += 0.8 * TTL
    world.answer = published(other)
    world.one(remote.refresh())
    assert [key.kid for key in world.one(remote.newer(old))] == ["two"]
    assert len(world.sent) == 2

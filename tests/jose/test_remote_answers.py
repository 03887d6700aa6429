"""Section E of the attack cases: what is believed of what an issuer publishes. No network and no clock."""

from __future__ import annotations

import json

import pytest

from valetkey.errors import BadAnswer, InvalidInput, ProviderError, ProviderTimeout, ProviderUnavailable, TokenRefused
from valetkey.jose import Key, Policy, RemoteKeys, verified
from valetkey.jose import sign as jose_sign
from valetkey.jose.remote import TIMEOUT, TTL, TTL_MOST
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


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(301, {"location": "https://evil.example/jwks"}), "jwks_redirect"),  # E10
        (Response(302, {"location": "http://127.0.0.1/"}), "jwks_redirect"),
        (ProviderError("x", code="blocked_address"), "blocked_address"),  # E12
        (Response(200, {}, b'{"keys":[', cut=True), "jwks_too_large"),  # E13
        (Response(200, {}, json.dumps({"keys": [{}] * 10_000}).encode()), "jwks_too_large"),  # E13
        (ProviderTimeout("slow drip"), "jwks_timeout"),  # E13
        (BadAnswer("not the gzip it says it is"), "jwks_invalid"),  # E13
        (InvalidInput("not a host"), "jwks_unavailable"),
        (Response(200, {}, b"[]"), "jwks_invalid"),  # E14
        (Response(200, {}, b"<html>"), "jwks_invalid"),
        (Response(200, {}, b"[" * 100_000), "jwks_invalid"),
        (Response(200, {}, b"\xff"), "jwks_invalid"),
        (Response(200, {}, b"{}"), "jwks_invalid"),
        (Response(200, {}, b'{"keys":{}}'), "jwks_invalid"),
        (Response(200, {}, b'{"keys":[]}'), "jwks_invalid"),
        (Response(200, {}, b'{"keys":[1,null,{"kty":"AKP","alg":"ML-DSA-44"}]}'), "jwks_invalid"),
        (Response(304), "jwks_unavailable"),  # nothing was known that could be unchanged
        (Response(404), "jwks_unavailable"),
        (Response(204), "jwks_unavailable"),
    ],
)
def test_an_answer_that_is_no_key_set_is_refused_for_the_stated_reason(
    new_world, *, key, policy, remote, answer, expected
):
    assert reason(new_world(answer), verified(token(key), policy, remote)) == expected
    assert remote.last_reason == expected


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://x/jwks",
        "data:,{}",
        "http://auth.example/jwks",
        "https://u:p@x/",
        "https://x/#a",
        "",
    ],
)
def test_an_address_that_is_not_https_is_a_config_error(url):
    # E11
    with pytest.raises(InvalidInput) as error:
        RemoteKeys(ISSUER, url)
    assert error.value.code == "config_error"


@pytest.mark.parametrize(
    ("url", "setting", "public"),
    [
        (URL, {}, True),
        (URL, {"allow_private": True}, False),
        ("http://127.0.0.1:8000/jwks", {}, False),
        ("https://10.0.0.1/jwks", {}, True),
    ],
)
def test_only_public_addresses_are_asked_unless_said_so(new_world, *, key, policy, url, setting, public):
    # E12: the transport refuses by this mark; see tests/transport
    world = new_world(published(key))
    world.one(verified(token(key), policy, RemoteKeys(ISSUER, url, **setting)))
    assert world.sent[0].public_only is public


def test_bad_entries_are_skipped_and_the_rest_is_used(new_world, key, policy, remote):
    # E14
    world = new_world(
        published({"kty": "AKP"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, key, {"use": "enc"})
    )
    assert world.one(verified(token(key), policy, remote))
    assert remote.health(world.clock)["keys"] == 1


@pytest.mark.parametrize("note_error", [None, ProviderUnavailable("no log")])
def test_a_published_private_key_is_not_used_and_raises_an_alarm(new_world, *, key, other, policy, remote, note_error):
    # E15
    world = new_world(published(key, other.to_jwk(private=True), {"kty": "oct", "k": "AAAA", "kid": "s"}))
    world.note_error = note_error
    assert world.one(verified(token(key), policy, remote))
    assert [event.kind for event in world.notes] == ["jwks.private_key_published"]
    assert reason(world, verified(token(other), policy, remote)) == "no_matching_key"
    assert remote.health(world.clock)["private_key_published"] is True


def test_other_skipped_entries_raise_no_alarm(new_world, key, policy, remote):
    world = new_world(published(key, {"kty": "AKP"}))
    world.one(verified(token(key), policy, remote))
    assert world.notes == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, TTL),
        ({"cache-control": "public, max-age=1000"}, 1000),
        ({"cache-control": 'max-age="1000"'}, 1000),
        ({"cache-control": "max-age=1000", "age": "300"}, 700),
        ({"cache-control": "max-age=0"}, 60),
        ({"cache-control": "no-store"}, 60),
        ({"cache-control": "no-cache, max-age=1000"}, 60),
        ({"cache-control": "max-age=315360000"}, TTL_MOST),
        ({"cache-control": "max-age=" + "9" * 5000}, TTL_MOST),
        ({"cache-control": "max-age=-5"}, TTL),
        ({"cache-control": "max-age=²"}, TTL),
        ({"cache-control": "private"}, TTL),
    ],
)
def test_cache_control_is_followed_within_bounds(new_world, *, key, policy, remote, headers, seconds):
    # E16
    world = new_world(published(key, headers=headers))
    world.one(verified(token(key), policy, remote))
    assert remote.ready(START + seconds - 0.001) is not None
    assert remote.ready(START + seconds) is None


def test_an_unchanged_set_is_asked_for_by_its_etag_and_keeps_what_was_verified(new_world, key, policy, remote):
    # E16
    world = new_world(published(key, headers={"etag": '"v1"'}))
    text = token(key)
    first = world.one(verified(text, policy, remote))
    world.answer = Response(304, {"cache-control": "max-age=700"})
    world.clock += TTL
    assert world.one(verified(text, policy, remote)) is first
    assert [request.headers.get("if-none-match") for request in world.sent] == [None, '"v1"']
    assert remote.ready(world.clock + 699) is not None


def test_the_same_set_sent_again_keeps_what_was_verified(new_world, key, policy, remote):
    world = new_world(published(key))
    text = token(key)
    first = world.one(verified(text, policy, remote))
    world.clock += TTL
    assert world.one(verified(text, policy, remote)) is first
    assert len(world.sent) == 2


def metadata(issuer=ISSUER, jwks_uri=URL, **more):
    return Response(200, {}, json.dumps({"issuer": issuer, "jwks_uri": jwks_uri, **more}).encode())


def discovering(meta, keys):
    return lambda request: meta if "well-known" in request.url else keys


def test_the_address_is_found_by_the_issuers_metadata_and_kept(new_world, key, policy):
    remote = RemoteKeys(ISSUER)
    world = new_world(discovering(metadata(), published(key)))
    world.one(verified(token(key), policy, remote))
    world.clock += TTL
    world.one(verified(token(key, world.clock), policy, remote))
    assert [request.url for request in world.sent] == [
        "https://auth.example/.well-known/openid-configuration",
        URL,
        URL,
    ]
    world.clock += 24 * 3600
    world.one(verified(token(key, world.clock), policy, remote))
    assert len(world.sent) == 5


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (metadata(issuer="https://auth.example/"), "issuer_mismatch"),  # E17
        (metadata(issuer="https://evil.example"), "issuer_mismatch"),
        (metadata(issuer=None), "issuer_mismatch"),
        (metadata(jwks_uri="https://evil.example/jwks"), "issuer_mismatch"),
        (metadata(jwks_uri="http://auth.example/jwks"), "issuer_mismatch"),
        (metadata(jwks_uri="file:///etc/passwd"), "issuer_mismatch"),
        (metadata(jwks_uri=7), "jwks_invalid"),
        (Response(200, {}, b"[]"), "jwks_invalid"),
        (Response(404), "jwks_unavailable"),
        (Response(307), "jwks_redirect"),
    ],
)
def test_metadata_that_is_not_the_issuers_is_refused(new_world, key, policy, answer, expected):
    world = new_world(discovering(answer, published(key)))
    assert reason(world, verified(token(key), policy, RemoteKeys(ISSUER))) == expected
    assert len(world.sent) == 1


def test_a_key_set_elsewhere_is_refused_with_what_to_say(new_world, key, policy):
    # As Google's: its issuer is accounts.google.com, its keys are at www.googleapis.com.
    world = new_world(discovering(metadata(jwks_uri="https://keys.example/jwks"), published(key)))
    with pytest.raises(TokenRefused) as refusal:
        world.one(verified(token(key), policy, RemoteKeys(ISSUER)))
    assert "allow_hosts=['keys.example']" in refusal.value.fix


def test_keys_without_an_algorithm_are_refused_with_what_to_say(new_world, policy):
    rsa = Key.generate("RS256", kid="r")
    entry = {name: value for name, value in rsa.to_jwk().items() if name != "alg"}
    with pytest.raises(TokenRefused) as refusal:
        new_world(published(entry)).one(verified(token(rsa), policy, RemoteKeys(ISSUER, URL)))
    assert "alg='RS256'" in refusal.value.fix


def test_metadata_may_point_to_a_host_that_was_allowed(new_world, key, policy):
    elsewhere = "https://keys.example/jwks"
    world = new_world(discovering(metadata(jwks_uri=elsewhere), published(key)))
    assert world.one(verified(token(key), policy, RemoteKeys(ISSUER, allow_hosts=["keys.example"])))
    assert world.sent[1].url == elsewhere


def test_discovery_and_keys_share_one_deadline(new_world, key, policy):
    world = new_world(discovering(metadata(), published(key)))
    world.latency = 3.0
    world.one(verified(token(key), policy, RemoteKeys(ISSUER)))
    assert [request.timeout for request in world.sent] == [TIMEOUT, TIMEOUT - 3.0]
    slow = new_world(discovering(metadata(), published(key)))
    slow.latency = 6.0
    assert reason(slow, verified(token(key), policy, RemoteKeys(ISSUER))) == "jwks_timeout"
    assert len(slow.sent) == 1


def test_fetched_keys_count_for_their_issuer_only(new_world, key):
    # D16, E17
    other = Policy(issuer="https://other.example", audience="a")
    bad = jose_sign(key, now=START, jti="x", issuer="https://other.example", audience="a")
    assert reason(new_world(published(key)), verified(bad, other, RemoteKeys(ISSUER, URL))) == "iss_mismatch"


def test_keys_that_name_no_algorithm_get_the_one_that_is_configured(new_world, policy):
    key = Key.generate("RS256", kid="r")
    entry = {name: value for name, value in key.to_jwk().items() if name != "alg"}
    world = new_world(published(entry))
    assert reason(world, verified(token(key), policy, RemoteKeys(ISSUER, URL))) == "jwks_invalid"
    assert world.one(verified(token(key), policy, RemoteKeys(ISSUER, URL, alg="RS256")))


def test_two_keys_of_one_kid_refuse_the_set_unless_allowed(new_world, policy, key):
    # E03
    rsa = Key.generate("RS256", kid="one")
    world = new_world(published(key, rsa))
    assert reason(world, verified(token(key), policy, RemoteKeys(ISSUER, URL))) == "jwks_invalid"
    shared = RemoteKeys(ISSUER, URL, allow_shared_kid=True)
    assert world.one(verified(token(key), policy, shared))
    assert world.one(verified(token(rsa), policy, shared))

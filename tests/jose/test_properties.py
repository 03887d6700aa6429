"""Properties: what we sign verifies, any change is refused, and nothing but TokenRefused ever comes out."""

from __future__ import annotations

import json
from datetime import timedelta
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from valetkey.errors import TokenRefused
from valetkey.jose import Key, KeySet, Policy, explain, sign, sign_bytes, verify, verify_bytes
from valetkey.jose.rules import judge

NOW = 1_790_000_000
ISSUER, AUDIENCE = "https://auth.example", "https://api.example"
KEYS = {alg: Key.generate(alg, kid=alg) for alg in ("HS256", "ES256", "EdDSA")}
POLICY = Policy(issuer=ISSUER, audience=AUDIENCE)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
quickly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
REGISTERED = {"iss", "sub", "aud", "exp", "iat", "jti", "scope", "nbf", "client_id"}
others = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), plain, max_size=5).map(
    lambda found: {name: value for name, value in found.items() if name not in REGISTERED}
)
printable = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)


def token(alg, claims=None, **given):
    return sign(KEYS[alg], now=NOW, jti="x", issuer=ISSUER, audience=AUDIENCE, claims=claims, **given)


@quickly
@given(alg=st.sampled_from(sorted(KEYS)), claims=others, subject=printable, minutes=st.integers(1, 60))
def test_what_we_sign_verifies_and_says_the_same(alg, claims, subject, minutes):
    made = token(alg, claims, subject=subject, lifetime=timedelta(minutes=minutes))
    found = verify(made, KEYS[alg], POLICY, now=NOW).to_dict()
    expected = {"iss": ISSUER, "sub": subject, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 60 * minutes, "jti": "x"}
    assert found == {**claims, **expected}


@quickly
@given(alg=st.sampled_from(sorted(KEYS)), place=st.integers(0, 10_000), new=st.sampled_from(ALPHABET) | st.characters())
def test_any_one_changed_character_is_refused(alg, place, new):
    good = token(alg, {"pad": "~~?"}, subject="ci")
    verify(good, KEYS[alg], POLICY, now=NOW)
    place %= len(good)
    changed = good[:place] + new + good[place + 1 :]
    if changed == good:
        return
    with pytest.raises(TokenRefused):
        verify(changed, KEYS[alg], POLICY, now=NOW)
    with pytest.raises(TokenRefused):
        verify_bytes(changed, KEYS[alg])


@quickly
@given(raw=st.binary(max_size=400) | st.text(max_size=400) | st.text(ALPHABET, max_size=400))
@example(raw="\ud800")
@example(raw=b"..")
@example(raw="{" * 300)
def test_arbitrary_input_is_refused_and_nothing_else(raw):
    with pytest.raises(TokenRefused):
        verify(raw, KEYS["HS256"], POLICY, now=NOW)
    assert explain(raw, POLICY, KEYS["HS256"], now=NOW).verdict == "refused"


@quickly
@given(payload=st.binary(max_size=300), header=st.binary(max_size=100))
def test_arbitrary_bytes_as_signed_payload_or_header_are_judged_without_a_crash(payload, header):
    accepted_or_refused(sign_bytes(payload, KEYS["HS256"]))
    from valetkey.jose.wire import encode  # signing any header is not offered, so it is done by hand

    message = encode(header) + b"." + encode(payload)
    accepted_or_refused(message + b"." + encode(KEYS["HS256"].signer(message)))


@quickly
@given(
    claims=st.dictionaries(st.sampled_from([*sorted(REGISTERED), "x"]), plain | st.integers(), max_size=8),
    spaces=st.booleans(),
    strict=st.booleans(),
)
def test_arbitrary_claims_are_judged_without_a_crash_and_explained_alike(claims, spaces, strict):
    text = json.dumps(claims, separators=(", ", ": ") if spaces else (",", ":"))
    policy = Policy(issuer=ISSUER, audience=AUDIENCE, scope="a" if strict else (), leeway=timedelta(seconds=0.5))
    accepted_or_refused(sign_bytes(text.encode(), KEYS["HS256"]), policy)


def accepted_or_refused(made, policy=POLICY):
    try:
        verify(made, KEYS["HS256"], policy, now=NOW)
        reason = ""
    except TokenRefused as refusal:
        reason = refusal.reason
    assert explain(made, policy, KEYS["HS256"], now=NOW).reason == reason


times = st.integers(NOW - 90_000, NOW + 90_000) | st.floats(NOW - 100, NOW + 100) | st.integers() | st.just(True)


@quickly
@given(
    body=st.fixed_dictionaries(
        {"iss": st.sampled_from([ISSUER, "x"]), "aud": st.sampled_from([AUDIENCE, "x", 7, None, (AUDIENCE, "y"), ("x", 7), (AUDIENCE, 7), (), "y", ("y",), (AUDIENCE, MappingProxyType({}))]), "exp": times, "iat": times},
        optional={
            "sub": st.sampled_from(["ci", "a\n", 7]),
            "jti": st.sampled_from(["x", "\0", None]),
            "client_id": st.sampled_from(["x", "\x7f", []]),
            "scope": st.sampled_from(["a", "a b", "b a", "ab", ["a"], None]),
            "nbf": times,
        },
    ),
    scope=st.sampled_from(["", "a", "a b"]),
    leeway=st.sampled_from([0, 0.5, 30]),
    forever=st.booleans(),
    audience=st.sampled_from([AUDIENCE, [AUDIENCE, "y"]]),
)  # fmt: skip
def test_the_quick_way_accepts_only_what_every_rule_accepts(body, scope, leeway, forever, audience):
    policy = Policy(
        issuer=ISSUER,
        audience=audience,
        scope=scope,
        leeway=timedelta(seconds=leeway),
        **({"max_lifetime": None} if forever else {}),
    )
    until = policy.accept(body, NOW)
    if until:
        assert judge(body, policy, NOW) == until


@quickly
@given(claims=others)
def test_a_member_named_twice_is_always_found(claims):
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "iat": NOW, **claims}
    for name in good:
        for value in ("1", '"a:b"', '{"a":{"b":[1]}}', '"\\""'):
            text = json.dumps(good)[:-1] + f",{json.dumps(name)}: {value}}}"
            with pytest.raises(TokenRefused) as refusal:
                verify(sign_bytes(text.encode(), KEYS["HS256"]), KEYS["HS256"], POLICY, now=NOW)
            assert refusal.value.reason == "duplicate_member"
    accepted = verify(sign_bytes(json.dumps(good).encode(), KEYS["HS256"]), KEYS["HS256"], POLICY, now=NOW)
    assert accepted.to_dict() == good


@quickly
@given(
    document=plain
    | st.fixed_dictionaries(
        {
            "keys": st.lists(
                st.dictionaries(
                    st.sampled_from(["kty", "alg", "crv", "x", "y", "n", "e", "k", "d", "kid", "use", "key_ops"]), plain
                ),
                max_size=3,
            )
        }
    )
)
def test_arbitrary_key_sets_are_refused_and_nothing_else(document):
    from valetkey.errors import KeyRefused

    for skip in (True, False):
        with pytest.raises(KeyRefused):
            KeySet.from_jwks(json.dumps(document), skip_unusable=skip)

"""Section D of the attack cases: claims. Every token is genuine; only what it says is wrong."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from valetkey.errors import InvalidInput, TokenRefused
from valetkey.jose import Policy, explain, verify

NOW = 1_790_000_000
LEEWAY = {"leeway": timedelta(seconds=30)}
AUDIENCE = "https://api.example"
ISSUER = "https://auth.example"


def raw(name, text):
    """Good claims in which one has a value that Python's json would not write."""
    return lambda f: json.dumps(f.payload(**{name: "?"})).replace('"?"', text)


def claims(**changes):
    return lambda f: f.payload(**changes)


D = [
    ("D01 exp missing", claims(exp=...), {}, "claim_missing"),
    ("D02 exp a string of digits", claims(exp=str(NOW + 600)), {}, "claim_type"),
    ("D03 exp 1e400", raw("exp", "1e400"), {}, "claim_type"),
    ("D03 exp Infinity", raw("exp", "Infinity"), {}, "claim_type"),
    ("D04 exp NaN", raw("exp", "NaN"), {}, "claim_type"),
    ("D04 nbf NaN", raw("nbf", "NaN"), {}, "claim_type"),
    ("D04 nbf -Infinity", raw("nbf", "-Infinity"), {}, "claim_type"),
    *[(f"D05 exp {value!r}", claims(exp=value), {}, "claim_type") for value in (True, False, None, [], {}, [NOW + 600])],
    ("D06 exp 10^400", claims(exp=10**400), {}, "lifetime_too_long"),
    ("D06 exp 1e20", claims(exp=1e20), {}, "lifetime_too_long"),
    ("D06 exp 1e20, any lifetime allowed", claims(exp=1e20), {"max_lifetime": None}, "lifetime_too_long"),
    ("D06 exp in a year", claims(exp=NOW + 365 * 86400), {}, "lifetime_too_long"),
    ("D06 exp in a year, no iat", claims(exp=NOW + 365 * 86400, iat=...), {}, "lifetime_too_long"),
    ("D06 lifetime one second too long", claims(iat=NOW, exp=NOW + 601), {"max_lifetime": timedelta(seconds=600)}, "lifetime_too_long"),
    ("D06 iat -10^400", claims(iat=-(10**400)), {}, "lifetime_too_long"),
    ("D07 exp now", claims(exp=NOW), {}, "expired"),
    ("D07 exp now - 1", claims(exp=NOW - 1), {}, "expired"),
    ("D07 exp now as a float", claims(exp=float(NOW)), {}, "expired"),
    ("D07 exp at the leeway's end", claims(exp=NOW - 30), LEEWAY, "expired"),
    ("D07 exp 0", claims(exp=0), {}, "expired"),
    ("D07 exp -10^400", claims(exp=-(10**400)), {"leeway": timedelta(seconds=0.5)}, "expired"),
    ("D08 nbf ahead", claims(nbf=NOW + 1), {}, "not_yet_valid"),
    ("D08 nbf past the leeway", claims(nbf=NOW + 31), LEEWAY, "not_yet_valid"),
    ("D08 nbf 10^400", claims(nbf=10**400), {}, "not_yet_valid"),
    ("D08 nbf a string", claims(nbf=str(NOW)), {}, "claim_type"),
    ("D08 nbf null", claims(nbf=None), {}, "claim_type"),
    ("D09 iat an hour ahead", claims(iat=NOW + 3600, exp=NOW + 4000), {}, "issued_in_future"),
    ("D09 iat 31 s ahead", claims(iat=NOW + 31), {}, "issued_in_future"),
    ("D09 iat a string", claims(iat=str(NOW)), {}, "claim_type"),
    ("D09 iat a list", claims(iat=[NOW]), {}, "claim_type"),
    ("D10 older than max_age", claims(iat=NOW - 61), {"max_age": timedelta(seconds=60)}, "too_old"),
    ("D10 older than max_age and leeway", claims(iat=NOW - 91), {"max_age": timedelta(seconds=60), **LEEWAY}, "too_old"),
    ("D10 iat missing", claims(iat=...), {"max_age": timedelta(seconds=60)}, "claim_missing"),
    ("D11 aud missing", claims(aud=...), {}, "claim_missing"),
    *[(f"D12 aud {aud!r}", claims(aud=aud), {}, "aud_mismatch") for aud in ("other", "https://api", AUDIENCE + "/", "https://API.example", "x " + AUDIENCE, AUDIENCE + ".evil.com")],
    ("D12 aud list of others", claims(aud=["x", "y"]), {}, "aud_mismatch"),
    *[(f"D13 aud {aud!r}", claims(aud=aud), {}, "aud_mismatch") for aud in ([], "")],
    *[(f"D13 aud {aud!r}", claims(aud=aud), {}, "claim_type") for aud in (None, 1, True, {AUDIENCE: 1}, [[AUDIENCE]])],
    ("D14 aud with one number", claims(aud=[AUDIENCE, 7]), {}, "claim_type"),
    *[(f"D15 iss {iss!r}", claims(iss=iss), {}, "iss_mismatch") for iss in ("auth.example", ISSUER + "/", ISSUER + ".evil.com", "https://AUTH.example", "", "https://other.example")],
    *[(f"D15 iss {iss!r}", claims(iss=iss), {}, "claim_type") for iss in ([ISSUER], None, 1, {"a": 1})],
    ("D15 iss missing", claims(iss=...), {}, "claim_missing"),
    ("C11 an ID token: for the client, no scope", claims(aud="client-7", scope=..., nonce="n", azp="client-7"), {"scope": "read"}, "aud_mismatch"),
    ("C11 an ID token for us, no scope", claims(scope=..., nonce="n"), {"scope": "read"}, "scope_insufficient"),
    ("C11 a client assertion: issued by the client", claims(iss="client-7", sub="client-7"), {}, "iss_mismatch"),
    ("D17 sub a number", claims(sub=7), {}, "claim_type"),
    ("D17 sub null", claims(sub=None), {}, "claim_type"),
    ("D17 jti a number", claims(jti=7), {}, "claim_type"),
    ("D17 jti a list", claims(jti=["x"]), {}, "claim_type"),
    ("D17 client_id a number", claims(client_id=7), {}, "claim_type"),
    ("sub of somebody else", claims(), {"subject": "root"}, "sub_mismatch"),
    ("sub missing", claims(sub=...), {"subject": "ci"}, "claim_missing"),
    *[(f"D18 scope {scope!r}", claims(scope=scope), {"scope": "a"}, "scope_insufficient") for scope in ("ab", "A", "a,b", ["a"], "", "b", "a*", "*", None, 1)],
    ("D18 scope missing", claims(scope=...), {"scope": "a"}, "scope_insufficient"),
    ("D18 scp is not scope", claims(scope=..., scp="a"), {"scope": "a"}, "scope_insufficient"),
    ("D18 one of two", claims(scope="a"), {"scope": "a b"}, "scope_insufficient"),
    ("D18 none of any", claims(scope="c"), {"any_scope": ["a", "b"]}, "scope_insufficient"),
    ("D18 wildcard", claims(scope="vault:*"), {"scope": "vault:read"}, "scope_insufficient"),
    ("D19 half a surrogate pair", raw("name", '"\\ud800"'), {}, "claim_type"),
    ("D19 64 KB", claims(x="x" * 65536), {}, "token_too_large"),
    ("D19 line break in sub", claims(sub="ci\r\nX-Admin: 1"), {}, "claim_type"),
    ("D19 NUL in sub", claims(sub="ci\0"), {}, "claim_type"),
    ("D19 DEL in sub", raw("sub", '"ci\x7f"'), {}, "claim_type"),
    ("D19 control character in jti", claims(jti="\x1b[2J"), {}, "claim_type"),
    ("D19 control character in client_id", claims(client_id="a\nb"), {}, "claim_type"),
    ("required claim missing", claims(), {"required": ["sub", "tenant"]}, "claim_missing"),
]  # fmt: skip


@pytest.mark.parametrize("cached", [True, False], ids=["cache", "no cache"])
@pytest.mark.parametrize(("make", "setting", "reason"), [case[1:] for case in D], ids=[case[0] for case in D])
def test_claims_are_refused_for_the_stated_reason(forge, make, setting, reason, cached):
    policy = forge.policy(cache=cached, **setting)
    for _ in range(2):
        with pytest.raises(TokenRefused) as refusal:
            verify(forge.hs256(make(forge)), forge.hs, policy, now=NOW)
        assert refusal.value.reason == reason
        assert len(refusal.value.message) < 200
        assert str(refusal.value).isprintable()


ACCEPTED = [
    ("exp one second ahead", claims(exp=NOW + 1), {}),
    ("exp a fraction ahead", claims(exp=NOW + 0.5), {}),
    ("D07 exp inside the leeway", claims(exp=NOW - 29), LEEWAY),
    ("D08 nbf now", claims(nbf=NOW), {}),
    ("D08 nbf at the leeway's end", claims(nbf=NOW + 30), LEEWAY),
    ("D09 iat 30 s ahead", claims(iat=NOW + 30), {}),
    ("D10 just as old as max_age", claims(iat=NOW - 60), {"max_age": timedelta(seconds=60)}),
    ("lifetime exactly the longest", claims(iat=NOW, exp=NOW + 86400), {}),
    ("D01 no exp, allowed", claims(exp=...), {"allow_no_expiry": True}),
    ("D06 a year, allowed", claims(exp=NOW + 365 * 86400), {"max_lifetime": None}),
    ("D13 one of several audiences", claims(aud=["x", AUDIENCE]), {}),
    ("one of the policy's audiences", claims(), {"audience": ["x", AUDIENCE]}),
    ("D17 sub a number, allowed", claims(sub=7), {"allow_numeric_subject": True}),
    ("D18 all of two", claims(scope="b c a"), {"scope": ["a", "b"]}),
    ("D18 in the same order", claims(scope="a b"), {"scope": "a b"}),
    ("D18 one of any", claims(scope="c b"), {"any_scope": "a b"}),
    ("D18 scp as a string, said so", claims(scp="a b"), {"scope": "a", "scope_claim": "scp"}),
    ("D18 scp as a list, said so", claims(scp=["a", "b"]), {"scope": "a", "scope_claim": "scp"}),
    ("subject", claims(), {"subject": "ci"}),
    ("no subject, no jti, no scope", claims(sub=..., jti=..., scope=...), {}),
    ("required", claims(tenant=None), {"required": ("sub", "tenant")}),
    ("D19 __proto__ is a name like any other", claims(__proto__={"admin": True}), {}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "setting"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_claims_at_the_edge_are_accepted(forge, make, setting):
    found = verify(forge.hs256(make(forge)), forge.hs, forge.policy(**setting), now=NOW)
    assert found.to_dict() == make(forge)


@pytest.mark.parametrize(
    "setting",
    [
        {"leeway": timedelta(minutes=6)},
        {"leeway": timedelta(seconds=-1)},
        {"max_age": timedelta(0)},
        {"max_lifetime": timedelta(seconds=-1)},
        {"issuer": ""},
        {"issuer": None},
        {"audience": []},
        {"audience": ""},
        {"audience": [7]},
        {"subject": 7},
        {"subject": re.compile("(a+)+$")},  # D20: nothing is ever matched by a pattern
        {"issuer": re.compile("(a+)+$")},
        {"audience": re.compile("(a+)+$")},
        {"audience": [re.compile("(a+)+$")]},
        {"scope": re.compile("(a+)+$")},
        {"scope": [7]},
        {"required": [""]},
        {"typ": ()},
        {"typ": [7]},
        {"max_size": 0},
        {"cache": -1},
    ],
)
def test_a_policy_that_cannot_be_meant_is_not_made(setting):
    with pytest.raises(InvalidInput) as error:
        Policy(**{"issuer": ISSUER, "audience": AUDIENCE, **setting})
    assert error.value.code == "config_error"


@pytest.mark.parametrize("setting", [{}, {"required": "jti"}], ids=["usual policy", "by the table"])
@pytest.mark.parametrize(
    "now",
    [float("nan"), float("inf"), -1.0, NOW * 1000, 10**400, None, str(NOW)],
    ids=["nan", "inf", "negative", "milliseconds", "beyond floats", "None", "text"],
)
def test_a_clock_that_is_none_is_a_config_error(forge, now, setting):
    # D21
    for ask in (
        lambda: verify(forge.hs256(), forge.hs, forge.policy(**setting), now=now),
        lambda: explain(forge.hs256(), forge.policy(**setting), forge.hs, now=now),
    ):
        with pytest.raises(InvalidInput) as error:
            ask()
        assert error.value.code == "config_error"


def test_a_missing_scope_names_all_that_are_missing_and_asks_for_403(forge):
    from valetkey.jose.reasons import REASONS

    with pytest.raises(TokenRefused) as refusal:
        verify(forge.hs256(forge.payload(scope="b")), forge.hs, forge.policy(scope="a b c"), now=NOW)
    assert (refusal.value.expected, refusal.value.got) == ("a c", "b")
    assert REASONS[refusal.value.reason].status == 403


def test_the_refusal_of_a_numeric_subject_says_how_to_allow_it(forge):
    with pytest.raises(TokenRefused) as refusal:
        verify(forge.hs256(forge.payload(sub=7)), forge.hs, forge.policy(), now=NOW)
    assert "allow_numeric_subject" in refusal.value.fix


def test_a_refusal_holds_neither_the_token_nor_the_secret(forge, canary):
    secret = canary.make("shared secret")
    token = canary.watch("token", forge.hs256(forge.payload(aud="other"), secret=secret.encode()))
    canary.watch("signature", token.rsplit(".", 1)[1])
    from valetkey.jose import Key

    key = Key.secret(secret)
    with pytest.raises(TokenRefused) as refusal:
        verify(token, key, forge.policy(), now=NOW)
    error = refusal.value
    canary.assert_absent(repr(error), str(error), error.explain(), json.dumps(error.to_dict()), repr(key))
    with pytest.raises(TokenRefused) as refusal:
        verify(token[:-1], key, forge.policy(), now=NOW)
    canary.assert_absent(repr(refusal.value), refusal.value.explain())

"""Explaining: every check with pass or fail, and nothing that could be used instead of verifying."""

from __future__ import annotations

import json

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Key, explain, sign, verify

NOW = 1_790_000_000


def failed(found):
    return {check.rule: check.reason for check in found.checks if check.ok is False}


def test_a_good_token_passes_every_check(forge):
    found = explain(forge.hs256(), forge.policy(), forge.hs, now=NOW)
    assert found.ok
    assert (found.verdict, found.reason) == ("accepted", "")
    assert {check.rule for check in found.checks} >= {
        "size", "form", "header", "extensions", "algorithm", "type", "key", "payload", "signature",
        "expiry", "not before", "issued at", "lifetime", "issuer", "audience", "subject", "scope", "required",
    }  # fmt: skip
    assert found.claims["sub"] == "ci"
    assert "verdict: accepted" in str(found)


def test_everything_that_is_wrong_is_listed_with_the_setting_that_changes_it(forge):
    token = forge.hs256(forge.payload(aud="other", exp=NOW - 5), secret=b"w" * 64)
    found = explain(token, forge.policy(scope="admin"), forge.hs, now=NOW)
    assert failed(found) == {
        "signature": "bad_signature",
        "expiry": "expired",
        "audience": "aud_mismatch",
        "scope": "scope_insufficient",
    }
    assert (found.verdict, found.reason) == ("refused", "bad_signature")
    audience = next(check for check in found.checks if check.rule == "audience")
    assert (audience.expected, audience.got, audience.setting) == (forge.audience, "other", "audience")
    text = str(found)
    assert "expected after 2026-09-21T14:13:20Z  got 2026-09-21T14:13:15Z" in text
    assert "[Policy(audience=…)]" in text
    assert "claims, and the signature is not genuine:" in text


def test_the_claims_are_headed_by_what_is_known_of_them(forge):
    def heading(token, *given):
        return next(line for line in str(explain(token, *given, now=NOW)).splitlines() if line.startswith("claims"))

    good, late = forge.hs256(), forge.hs256(forge.payload(exp=NOW - 5))
    assert heading(good, forge.policy(), forge.hs) == "claims:"
    assert heading(late, forge.policy(), forge.hs) == "claims, genuine but refused:"
    assert heading(good, None, forge.hs) == "claims, genuine but not judged:"
    assert heading(late, forge.policy()) == "claims, unverified:"
    forged = forge.hs256(secret=b"w" * 64)
    assert heading(forged, forge.policy(), forge.hs) == "claims, and the signature is not genuine:"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda f: "x" * 20_000, "token_too_large"),
        (lambda f: "a.b", "malformed_token"),
        (lambda f: f.hs256() + "=", "malformed_base64url"),
        (lambda f: f.hs256(header="null"), "header_not_object"),
        (lambda f: f.hs256(header={"alg": "none"}), "alg_not_allowed"),
        (lambda f: f.hs256(header={"alg": "HS256", "typ": "x"}), "typ_mismatch"),
        (lambda f: f.hs256(header={"alg": "HS256", "crit": []}), "crit_malformed"),
        (lambda f: f.hs256(header={"alg": "HS256", "kid": "z"}), "no_matching_key"),
        (lambda f: f.hs256("[]"), "payload_not_object"),
        (lambda f: f.hs256(f.payload(iss="x")), "iss_mismatch"),
        (lambda f: f.hs256(f.payload(exp=NOW + 10**8)), "lifetime_too_long"),
        (lambda f: f.hs256(f.payload(nbf="x")), "claim_type"),
    ],
)
def test_the_reason_is_the_one_that_verify_gives(forge, make, reason):
    token, policy = make(forge), forge.policy()
    found = explain(token, policy, forge.hs, now=NOW)
    with pytest.raises(TokenRefused) as refusal:
        verify(token, forge.hs, policy, now=NOW)
    assert found.reason == refusal.value.reason == reason
    assert found.verdict == "refused"
    assert json.loads(json.dumps(found.to_dict()))["reason"] == reason
    assert reason in str(found)


def test_without_keys_or_policy_nothing_is_judged_that_cannot_be(forge):
    found = explain(forge.hs256(), now=NOW)
    assert found.verdict == "unchecked"
    assert [check.rule for check in found.checks if check.ok is None] == ["key", "signature", "claims"]
    assert found.to_dict()["verdict"] == "unchecked"
    only_keys = explain(forge.hs256(), keys=forge.hs, now=NOW)
    assert [check.rule for check in only_keys.checks if check.ok is None] == ["claims"]
    assert explain(forge.hs256("x"), now=NOW).verdict == "refused"
    no_header = explain(forge.hs256(header="x"), forge.policy(), forge.hs, now=NOW)
    assert no_header.header == {}


def test_padding_is_taken_where_the_policy_takes_it(forge):
    assert explain(forge.hs256() + "=", forge.policy(allow_padding=True), forge.hs, now=NOW).ok


def test_keys_of_another_issuer_are_named(forge):
    found = explain(forge.hs256(), forge.policy(), forge.keyset().bound_to("https://x.example"), now=NOW)
    assert failed(found) == {"keys' issuer": "iss_mismatch"}


def test_signature_and_secrets_are_masked(forge, canary):
    secret = canary.make("shared secret")
    key = Key.secret(secret)
    hidden = canary.make("inner token")
    claims = {"access_token": hidden, "client_secret": canary.make("client secret"), "n": {"a": 1}}
    token = sign(key, now=NOW, jti="j", issuer=forge.issuer, audience=forge.audience, claims=claims)
    canary.watch("signature", token.rsplit(".", 1)[1])
    canary.watch("thumbprint of the secret", key.kid)
    found = explain(token, forge.policy(), key, now=NOW)
    assert found.ok
    canary.assert_absent(str(found), repr(found), json.dumps(found.to_dict()))
    assert found.claims["access_token"] == "(masked)"
    assert found.claims["n"] == "an object"


SECRET_NAMES = [
    "pwd", "pin", "code", "jwt", "cookie", "session", "auth", "key", "refresh", "k", "d", "signature", "otp",
    "password", "db_passwd", "user-pwd", "apiKey", "api_key", "API-KEY", "authCode", "auth_code", "sessionId", "setCookie",
    "refresh_tok", "clientSecret", "private", "id_token", "JWT", "X-Auth",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["hunter2", 1234, ["hunter2"], {"a": "hunter2"}])
def test_a_member_named_like_a_secret_is_masked(forge, name, value):
    found = explain(forge.hs256(forge.payload(**{name: value}), header={"alg": "HS256", name: value}), now=NOW)
    assert found.claims[name] == "(masked)"
    assert found.header.get(name, "(masked)") == "(masked)"
    assert "hunter2" not in str(found)
    assert "1234" not in found.claims.values()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln", "(masked)"),
        ("before eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln after", "before (masked) after"),
        (["a", "eyJhbGciOiJIUzI1NiJ9"], "a, (masked)"),
        ([["eyJhbGciOiJIUzI1NiJ9"]], "(masked)"),
        ("GOCSPX-AbCdEfGhIjKlMnOpQrStUvWxYz12", "(masked)"),
        ("sent 0123456789abcdef0123456789abcdef", "sent (masked)"),
        ("0a1b2c3d-4e5f-6789-abcd-ef0123456789", "0a1b2c3d-4e5f-6789-abcd-ef0123456789"),
        ("a plain sentence of many short words", "a plain sentence of many short words"),
        ("alice@example.com", "alice@example.com"),
    ],
)
def test_a_member_that_looks_like_a_secret_is_masked(forge, value, shown):
    assert explain(forge.hs256(forge.payload(x=value)), now=NOW).claims["x"] == shown


def test_what_a_person_compares_is_shown_though_it_is_random(forge):
    names = ("sub", "jti", "azp", "nonce")
    claims = dict.fromkeys(names, "Ab0Cd1Ef2Gh3Ij4Kl5Mn6Op7Qr8St9Uv")
    found = explain(forge.hs256(forge.payload(**claims, auth_time=NOW, monkey="a")), now=NOW).claims
    assert {found[name] for name in names} == {"Ab0Cd1Ef2Gh3Ij4Kl5Mn6Op7Qr8St9Uv"}
    assert (found["auth_time"], found["monkey"]) == (str(NOW), "a")
    token = forge.hs256(forge.payload(sub="eyJhbGciOiJIUzI1NiJ9.e30.c2ln"))
    assert explain(token, now=NOW).claims["sub"] == "(masked)"
    inner = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"
    token = forge.hs256(forge.payload(iss=inner, aud=[inner], sub=inner), header={"alg": inner, "typ": inner})
    assert inner[:10] not in str(explain(token, forge.policy(), forge.hs, now=NOW))


def test_what_is_shown_is_one_line_and_short(forge):
    token = forge.hs256(forge.payload(x="a\nb" + "y" * 500, many=list(range(50)), huge=10**4200, no=None))
    found = explain(token, forge.policy(), forge.hs, now=NOW)
    assert found.claims["x"].startswith("a�b")
    assert "503 characters" in found.claims["x"]
    assert found.claims["many"] == "0, 1, 2, 3, 4, 5, 6, 7"
    assert all(len(line) < 300 for line in str(found).splitlines())
    assert found.claims["no"] == "null"


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"iat": NOW, "exp": NOW + 600}, "10 min"),
        ({"iat": NOW, "exp": NOW + 86_400}, "24 h"),
        ({"iat": NOW, "exp": NOW + 86_430}, "24 h 30 s"),
        ({"iat": NOW, "exp": NOW + 3 * 86_400 + 7_261}, "3 days 2 h 61 s"),
        ({"iat": NOW + 10, "exp": NOW}, "-10 s"),
        ({"exp": NOW + 90, "iat": ...}, "90 s"),
        ({"exp": ...}, "none"),
        ({"exp": "soon"}, "soon"),
        ({"iat": "x", "exp": NOW}, "2026-09-21T14:13:20Z"),
        ({"exp": -1}, "-1"),
        ({"exp": 10**20}, "100000000000000000000"),
    ],
)
def test_a_lifetime_is_shown_as_a_span_of_time(forge, changes, got):
    payload = {name: value for name, value in {**forge.payload(), **changes}.items() if value is not ...}
    found = explain(forge.hs256(payload), forge.policy(), forge.hs, now=NOW)
    assert next(check.got for check in found.checks if check.rule == "lifetime") == got


@pytest.mark.parametrize("numbers", [{"exp": -(10**400)}, {"iat": 10**400}, {"exp": 1e308}, {"iat": -(10**400)}])
def test_numbers_of_any_size_are_explained(forge, numbers):
    assert str(explain(forge.hs256(forge.payload(**numbers)), forge.policy(), forge.hs, now=NOW))


@pytest.mark.parametrize("word", ["Bearer ", "bearer ", " BEARER  "])
def test_a_token_with_bearer_before_it_is_told_apart(forge, word):
    with pytest.raises(TokenRefused) as refusal:
        verify(word + forge.hs256(), forge.hs, forge.policy(), now=NOW)
    assert refusal.value.reason == "malformed_token"
    assert "Bearer" in refusal.value.fix

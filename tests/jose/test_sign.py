"""Signing: what a token holds, and what is refused."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from valetkey.errors import InvalidInput, KeyRefused
from valetkey.jose import Key, Policy, sign, sign_bytes, verify, verify_bytes

NOW = 1_790_000_000.75


def parts(token):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def test_a_token_holds_what_was_given_and_iat_exp_and_jti():
    key = Key.generate("ES256", kid="k1")
    token = sign(
        key,
        now=NOW,
        jti="id-1",
        issuer="https://auth.example",
        subject="ci",
        audience="https://api.example",
        scope=["a", "b"],
        lifetime=timedelta(minutes=5),
        typ="at+jwt",
        claims={"client_id": "ci"},
    )
    header, payload = parts(token)
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": "k1"}
    assert payload == {
        "iss": "https://auth.example",
        "sub": "ci",
        "aud": "https://api.example",
        "scope": "a b",
        "iat": 1_790_000_000,
        "exp": 1_790_000_300,
        "jti": "id-1",
        "client_id": "ci",
    }


def test_what_is_not_given_is_left_out_and_the_lifetime_is_15_minutes():
    _, payload = parts(sign(Key.generate("HS256"), now=NOW, jti="x"))
    assert payload == {"iat": 1_790_000_000, "exp": 1_790_000_900, "jti": "x"}


@pytest.mark.parametrize(("given", "written"), [(["one"], "one"), (["one", "two"], ["one", "two"]), ("one", "one")])
def test_a_single_audience_is_a_string_and_several_are_a_list(given, written):
    _, payload = parts(sign(Key.generate("HS256"), now=NOW, jti="x", audience=given))
    assert payload["aud"] == written


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lifetime": timedelta(minutes=61)}, "longer than"),
        ({"lifetime": timedelta(0)}, "not positive"),
        ({"lifetime": timedelta(seconds=-1), "allow_long_lifetime": True}, "not positive"),
        ({"now": float("nan")}, "the time"),
        ({"now": float("inf")}, "the time"),
        ({"now": -1.0}, "the time"),
        ({"claims": {"exp": 1}}, "argument of its own"),
        ({"claims": {"x": float("nan")}}, "plain JSON"),
        ({"claims": {"x": [{"y": 2**53}]}}, "plain JSON"),
        ({"claims": {"x": object()}}, "plain JSON"),
        ({"claims": {1: "x"}}, "plain JSON"),
        ({"claims": {"x": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}}, "plain JSON"),
        ({"claims": {"x": "y" * 20_000}}, "characters"),
    ],
)
def test_what_cannot_be_meant_is_a_config_error(arguments, words):
    with pytest.raises(InvalidInput, match=words) as error:
        sign(Key.generate("HS256"), **{"now": NOW, "jti": "x", **arguments})
    assert error.value.code == "config_error"


def test_a_long_lifetime_needs_to_be_said_in_so_many_words():
    token = sign(Key.generate("HS256"), now=NOW, jti="x", lifetime=timedelta(days=30), allow_long_lifetime=True)
    assert parts(token)[1]["exp"] == 1_790_000_000 + 30 * 86400


def test_nested_plain_claims_come_through_and_are_read_only_after():
    key = Key.generate("HS256")
    given = {"list": [1, [2.5, None]], "map": {"a": {"b": True}}}
    token = sign(key, now=NOW, jti="x", issuer="i", audience="a", claims=given)
    claims = verify(token, key, Policy(issuer="i", audience="a"), now=NOW)
    assert claims.to_dict()["list"] == given["list"]
    assert claims.to_dict()["map"] == given["map"]
    with pytest.raises(TypeError):
        claims["map"]["a"] = 1


def test_a_public_key_does_not_sign():
    with pytest.raises(KeyRefused) as refusal:
        sign(Key.generate("ES256").public(), now=NOW, jti="x")
    assert refusal.value.reason == "key_not_private"


def test_bytes_of_any_kind_can_be_signed():
    key = Key.generate("EdDSA")
    assert verify_bytes(sign_bytes(b"\x00\xff any", key), key.public()) == b"\x00\xff any"


def test_what_is_no_bytes_is_not_signed_as_if_it_were():
    with pytest.raises(InvalidInput, match="the payload is of type str") as refusal:
        sign_bytes("text", Key.generate("HS256"))
    assert refusal.value.code == "config_error"


def test_bytes_that_make_a_token_too_long_are_refused():
    with pytest.raises(InvalidInput, match="16384 is the most"):
        sign_bytes(b"x" * 12_300, Key.generate("HS256"))


def test_a_kid_that_is_only_a_thumbprint_can_be_left_out():
    named, unnamed = Key.generate("ES256", kid="k"), Key.generate("ES256")
    for key, thumbprint, kid in [(unnamed, True, unnamed.kid), (unnamed, False, None), (named, False, "k")]:
        header, _ = parts(sign(key, now=NOW, jti="x", thumbprint=thumbprint))
        assert header.get("kid") == kid


def test_the_thumbprint_of_a_secret_never_travels():
    header, _ = parts(sign(Key.generate("HS256"), now=NOW, jti="x"))
    assert header == {"alg": "HS256", "typ": "JWT"}


def test_numbers_of_any_length_can_be_shown():
    from valetkey.jose.reasons import shown

    assert shown(10**5000) == "a very long number"
    assert shown({1}) == "a set"


def test_strings_are_written_as_they_are_given():
    given = {"issuer": "i", "subject": "s", "audience": "a", "scope": "x y"}
    _, payload = parts(sign(Key.generate("HS256"), now=NOW, jti="j", **given))
    assert payload == {
        "iss": "i", "sub": "s", "aud": "a", "scope": "x y", "jti": "j", "iat": 1_790_000_000, "exp": 1_790_000_900,
    }  # fmt: skip

"""How a client proves itself: RFC 6749 section 2.3.1, RFC 7523; assertions are read by another library."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote_plus

import jwt
import pytest

from valetkey.errors import InvalidInput
from valetkey.jose.key import Key
from valetkey.oauth.authentication import (
    Anonymous,
    Basic,
    JsonBody,
    NoAuth,
    Post,
    PrivateKeyJwt,
    SecretJwt,
    client_auth,
)
from valetkey.oauth.client import Client, ask
from valetkey.values import Secret

LONG = "a client secret of at least thirty-two bytes"


def test_basic_sends_the_header_of_rfc_6749_section_4_1_3(client, stamp, asked):
    got = asked(ask(client(), "token", {"grant_type": "x"}, stamp=stamp))
    assert got.headers["authorization"] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
    assert got.form == {"grant_type": "x"}


def test_basic_form_encodes_id_and_secret_before_base64(client, stamp):
    # The text and its encoding are those of RFC 6749 appendix B.
    basic = client(Basic(Secret(" %&+£€")), client_id="id:with colon")
    header = ask(basic, "token", {"a": "b"}, stamp=stamp).headers["authorization"]
    assert b64decode(header.removeprefix("Basic ")) == b"id%3Awith+colon:+%25%26%2B%C2%A3%E2%82%AC"


def test_post_sends_id_and_secret_as_rfc_6749_section_2_3_1_does(client, stamp, asked):
    got = asked(ask(client(Post(Secret("7Fjfp0ZBr1KtDRbnfVdmIw"))), "token", {"a": "b"}, stamp=stamp))
    assert got.form == {"a": "b", "client_id": "s6BhdRkqt3", "client_secret": "7Fjfp0ZBr1KtDRbnfVdmIw"}
    assert "authorization" not in got.headers


def test_json_body_sends_everything_as_one_object(client, stamp, asked):
    got = asked(ask(client(JsonBody(Secret('quo"te'))), "token", {"a": "b"}, stamp=stamp))
    assert got.headers["content-type"] == "application/json"
    assert got.form == {"a": "b", "client_id": "s6BhdRkqt3", "client_secret": 'quo"te'}


def test_a_provider_that_wants_json_gets_it_beside_basic(client, stamp, asked):
    got = asked(ask(client(asking={"body": "json"}), "token", {"a": "b"}, stamp=stamp))
    assert got.form == {"a": "b"}
    assert got.headers["authorization"].startswith("Basic ")


def test_a_public_client_names_itself_only(client, stamp, asked):
    assert asked(ask(client(NoAuth()), "token", {}, stamp=stamp)).form == {"client_id": "s6BhdRkqt3"}


@pytest.mark.parametrize("auth", [NoAuth(), Anonymous()])
def test_a_client_without_an_id_names_nothing(client, stamp, asked, auth):
    assert asked(ask(client(auth, client_id=""), "token", {"a": "b"}, stamp=stamp)).form == {"a": "b"}


ISSUER = "https://issuer.example.com"
SHARED = Key.secret(LONG.encode())
ES256 = Key.generate("ES256", kid="the-key")


@pytest.mark.parametrize(
    ("auth", "check"),
    [
        (PrivateKeyJwt(ES256), (ES256.public().to_pem(), ["ES256"])),
        (SecretJwt(Secret(LONG)), (LONG, ["HS256"])),
        (SecretJwt(Secret(LONG + LONG), alg="HS512"), (LONG + LONG, ["HS512"])),
    ],
)
@pytest.mark.parametrize("issuer", [ISSUER, ""])
def test_an_assertion_says_what_rfc_7523_section_3_asks_for(client, stamp, asked, auth, check, *, issuer):
    got = asked(ask(client(auth, endpoints={"issuer": issuer}), "token", {"a": "b"}, stamp=stamp))
    signed = got.form.pop("client_assertion")
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert got.form == {"a": "b", "client_id": "s6BhdRkqt3", "client_assertion_type": kind}
    audience = issuer or "https://server.example.com/token"
    # The moment is fixed, so expiry is compared below and not with a clock.
    claims = jwt.decode(signed, *check, audience=audience, options={"verify_exp": False, "verify_iat": False})
    now = int(stamp.now.timestamp())
    assert claims == {
        "iss": "s6BhdRkqt3",
        "sub": "s6BhdRkqt3",
        "aud": audience,
        "jti": "one-of-a-kind",
        "iat": now,
        "exp": now + 60,
    }


def test_an_assertion_names_the_key_the_provider_knows(client, stamp, asked):
    signed = asked(ask(client(PrivateKeyJwt(ES256)), "token", {}, stamp=stamp)).form["client_assertion"]
    assert jwt.get_unverified_header(signed)["kid"] == "the-key"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("none", NoAuth),
        ("client_secret_basic", Basic),
        ("client_secret_post", Post),
        ("client_secret_json", JsonBody),
        ("client_secret_jwt", SecretJwt),
        ("private_key_jwt", PrivateKeyJwt),
    ],
)
def test_each_method_has_its_value(method, kind):
    assert type(client_auth(method, Secret(LONG), ES256)) is kind


@pytest.mark.parametrize(
    "method",
    ["client_secret_basic", "client_secret_post", "client_secret_json", "client_secret_jwt", "private_key_jwt"],
)
@pytest.mark.parametrize("secret", [None, Secret("")])
def test_a_method_without_what_it_needs_is_refused_with_a_fix(method, secret):
    with pytest.raises(InvalidInput) as refused:
        client_auth(method, secret, None)
    assert method in str(refused.value)
    assert refused.value.fix


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(InvalidInput, match="tls_client_auth") as refused:
        client_auth("tls_client_auth", None, None)
    assert "private_key_jwt" in refused.value.fix


@pytest.mark.parametrize(("size", "fits"), [(31, False), (32, True)])
def test_a_secret_shorter_than_the_hash_is_no_key_for_client_secret_jwt(canary, size, fits):
    secret = canary.make()[:size]
    if fits:
        assert client_auth("client_secret_jwt", Secret(secret), None)
        return
    with pytest.raises(InvalidInput) as refused:
        client_auth("client_secret_jwt", Secret(secret), None)
    assert "client_secret_post" in refused.value.fix
    assert secret not in refused.value.explain() + repr(refused.value.to_dict()) + repr(refused.value.__cause__)


@pytest.mark.parametrize("make", [Basic, Post, JsonBody, SecretJwt])
def test_no_value_shows_its_secret(client, canary, make):
    auth = make(Secret(canary.make()))
    canary.assert_absent(repr(auth), str(auth), repr(client(auth)), f"{client(auth)}")


@pytest.mark.parametrize("make", [Basic, Post, JsonBody])
def test_a_secret_that_is_not_unicode_is_refused_and_not_shown(client, stamp, make):
    with pytest.raises(InvalidInput) as refused:
        ask(client(make(Secret("half a pair \udc80"))), "token", {}, stamp=stamp)
    assert "half a pair" not in refused.value.explain()
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("client_id", ["with\nline", "tab\t", "typographic\u2013dash", "nul\0"])
def test_a_client_id_that_cannot_be_sent_is_refused(provider, client_id):
    with pytest.raises(InvalidInput) as refused:
        Client(provider(), client_id, NoAuth())
    assert refused.value.fix


def test_the_pair_of_the_rfc_is_read_back_by_the_server_s_rule(client, stamp):
    basic = client(Basic(Secret("s~p*a c.e/+=")), client_id="a b")
    header = ask(basic, "token", {}, stamp=stamp).headers["authorization"]
    name, _, secret = b64decode(header.removeprefix("Basic ")).decode("ascii").partition(":")
    assert (unquote_plus(name), unquote_plus(secret)) == ("a b", "s~p*a c.e/+=")

"""Error reporters write down the variables of every frame; none of ours shows a secret, a code or an answer."""

from __future__ import annotations

import json

import pytest

from frames import seen_by_reporters
from valetkey.errors import InvalidInput, ValetkeyError
from valetkey.oauth.assertion import jwt_bearer_request
from valetkey.oauth.authentication import Basic, JsonBody, Post, SecretJwt
from valetkey.oauth.authorize import Expected, authorization_url, code_request, read_redirect, state_of
from valetkey.oauth.device import device_request, device_token_request, read_device
from valetkey.oauth.exchange import TypedToken, exchange_request
from valetkey.oauth.introspection import introspection_request, read_introspection
from valetkey.oauth.reading import read_token
from valetkey.oauth.refusal import TABLE
from valetkey.oauth.revocation import Bearer, read_revocation, revocation_request
from valetkey.oauth.token import refresh_request
from valetkey.values import Response, Secret

STATE = "state-of-the-login"
REDIRECT = "http://127.0.0.1:8765/callback"
HIDDEN = "canary"
"""What every secret here holds, whatever is put around it."""


def assert_clean(error: BaseException) -> None:
    seen = seen_by_reporters(error, "oauth")
    assert " raised " in seen, "no frame of ours was looked at"
    assert HIDDEN not in seen, [line[:120] for line in seen.splitlines() if HIDDEN in line]


def answers() -> list[bytes]:
    """Return one answer for each way of saying no, each with something in it that nobody may see."""
    good = {"access_token": "canary-a", "refresh_token": "canary-r", "deep": {"canary": ["canary"]}}
    no_token = {"refresh_token": "canary-r", "nested": {"access_token": "canary"}}
    codes = [{"error": code, "error_description": "it is canary", "x": "canary"} for code in sorted(TABLE)]
    odd = [
        {"error": {"canary": 1}},
        {"error": "canary"},
        {"error": "canary canary"},
        {**good, "access_token": "canary x"},
    ]
    bodies = [json.dumps(body).encode() for body in [no_token, *codes, *odd, ["canary"], "canary"]]
    doubled = b'{"access_token": "canary", "access_token": "canary"}'
    broken = [json.dumps(good).encode()[:-1], doubled, b"\xffcanary", b"<p>canary", b"a=canary&a=canary", b"[" * 10**5]
    return [*bodies, *broken, b'{"canary": NaN}', b"canary=canary"]


@pytest.mark.parametrize("body", answers(), ids=lambda body: body[:30].decode("latin-1"))
@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_an_answer_that_is_refused(client, body, status):
    sent = [Secret("canary")]
    readers = [read_token, read_device, read_introspection, read_revocation]
    for read in readers:
        try:
            read(client(), Response(status, {}, body), sent=sent)
        except ValetkeyError as error:
            assert_clean(error)
        else:
            assert read is read_revocation, "only this one takes what it cannot read for a yes"


def test_a_device_answer_with_a_page_that_is_none(client):
    body = json.dumps({"device_code": "canary", "user_code": "canary", "verification_uri": "http://canary/"}).encode()
    with pytest.raises(ValetkeyError) as refused:
        read_device(client(), Response(200, {}, body))
    assert_clean(refused.value)


@pytest.mark.parametrize(
    "answer",
    [
        "code=canary",
        "code=canary&state=",
        "code=canary&state=another",
        "code=canary&code=canary&state=state-of-the-login",
        "code=canary%00&state=state-of-the-login",
        "code=canary%ff&state=state-of-the-login",
        "code=canary&state=state-of-the-login&iss=https://other.example",
        "error=access_denied&error_description=canary&code=canary&state=state-of-the-login",
        "error=invalid_scope&error_description=canary&code=canary&state=state-of-the-login",
        "error=canary&code=canary&state=state-of-the-login",
        "canary" * 4000,
        "\ud800canary",
    ],
    ids=lambda text: text[:50].encode("ascii", "replace").decode(),
)
@pytest.mark.parametrize("wrapped", [str, Secret])
def test_a_redirect_that_is_refused(client, answer, wrapped):
    expected = Expected(Secret(STATE), "https://server.example.com", REDIRECT, requires_iss=False)
    with pytest.raises(ValetkeyError) as refused:
        read_redirect(wrapped(f"{REDIRECT}?{answer}"), expected, client())
    assert_clean(refused.value)


@pytest.mark.parametrize("wrapped", [str, Secret])
def test_a_redirect_without_a_state(wrapped):
    with pytest.raises(ValetkeyError) as refused:
        state_of(wrapped("code=canary"))
    assert_clean(refused.value)


@pytest.fixture
def requests_of(stamp):
    """Return a maker of every request that holds a secret, each as a function to call."""

    def every(client):
        secret = Secret("canary-secret")
        expected = Expected(Secret(STATE), "", REDIRECT, requires_iss=False)
        code = read_redirect(f"code=canary&state={STATE}", expected, client)
        how = {"redirect_uri": REDIRECT, "scopes": ["a"], "state": secret}
        return {
            "authorize": lambda: authorization_url(client, **how),
            "code": lambda: code_request(client, code, verifier=secret, stamp=stamp),
            "refresh": lambda: refresh_request(client, secret, stamp=stamp),
            "device": lambda: device_request(client, stamp=stamp),
            "device token": lambda: device_token_request(client, secret, stamp=stamp),
            "assertion": lambda: jwt_bearer_request(client, secret, stamp=stamp),
            "exchange": lambda: exchange_request(client, TypedToken(secret), actor=TypedToken(secret), stamp=stamp),
            "revoke": lambda: revocation_request(client, secret, stamp=stamp),
            "introspect": lambda: introspection_request(client, secret, stamp=stamp),
        }

    return every


NAMES = ["authorize", "code", "refresh", "device", "device token", "assertion", "exchange", "revoke", "introspect"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("auth", [Basic(Secret("canary")), Post(Secret("canary")), JsonBody(Secret("canary"))])
def test_a_request_to_a_url_that_is_not_safe(client, requests_of, name, auth):
    plain = "http://server.example.com/"
    urls = dict.fromkeys(("token", "authorize", "device", "revoke", "introspect"), plain)
    asking = client(auth, endpoints=urls)
    with pytest.raises(ValetkeyError) as refused:
        requests_of(asking)[name]()
    assert_clean(refused.value)


@pytest.mark.parametrize("auth", [Basic(Secret("canary\ud800")), Post(Secret("canary\ud800"))])
def test_a_request_with_a_secret_that_is_no_text(client, stamp, auth):
    with pytest.raises(InvalidInput) as refused:
        refresh_request(client(auth), Secret("canary"), stamp=stamp)
    assert refused.value.__context__ is None  # the codec's own error holds the whole text
    assert_clean(refused.value)


def test_a_parameter_of_ours_that_is_given_again(client, stamp):
    with pytest.raises(InvalidInput) as refused:
        refresh_request(client(), Secret("canary"), stamp=stamp, extra={"refresh_token": "x"})
    assert_clean(refused.value)


def test_a_secret_that_is_no_key():
    with pytest.raises(InvalidInput) as refused:
        SecretJwt(Secret("canary"))
    assert_clean(refused.value)
    assert HIDDEN not in seen_by_reporters(refused.value, "jose")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "authorize"])
@pytest.mark.parametrize("auth", [Basic(Secret("client-secret")), Post(Secret("client-secret"))])
def test_a_request_knows_the_secrets_that_stand_in_it(client, requests_of, name, auth):
    known = {secret.reveal() for secret in requests_of(client(auth))[name]().secrets}
    own = {"device": set(), "code": {"canary", "canary-secret"}}.get(name, {"canary-secret"})
    assert known == {"client-secret"} | own


def test_a_token_in_the_header_is_known_too(client, stamp):
    asking = client(asking={"revoke_auth": "bearer"})
    assert revocation_request(asking, Secret("canary"), stamp=stamp).secrets == (Secret("canary"),)
    with pytest.raises(InvalidInput) as refused:
        revocation_request(asking, Secret("canary\n"), stamp=stamp)
    assert_clean(refused.value)
    assert HIDDEN not in repr(Bearer(Secret("canary")))

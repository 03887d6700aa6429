"""How clients prove themselves to the sandbox."""

import base64
import json
from urllib.parse import quote_plus, urlencode

import pytest

pytestmark = pytest.mark.network

FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}


def basic(client, secret):
    pair = f"{quote_plus(client)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def by_basic(hand, secret=None, client="sandbox-machine"):
    header = basic(client, hand.secret("sandbox-machine") if secret is None else secret)
    return hand.ask("POST", "/token", urlencode(GRANT), content_type=FORM, authorization=header)


def by_post(hand, secret=None, client="sandbox-machine"):
    secret = hand.secret("sandbox-machine") if secret is None else secret
    body = urlencode({**GRANT, "client_id": client, "client_secret": secret})
    return hand.ask("POST", "/token", body, content_type=FORM)


def by_json(hand, secret=None, client="sandbox-machine"):
    secret = hand.secret("sandbox-machine") if secret is None else secret
    body = json.dumps({**GRANT, "client_id": client, "client_secret": secret})
    return hand.ask("POST", "/token", body, content_type="application/json; charset=utf-8")


WAYS = {"basic_only": by_basic, "post_only": by_post, "json_only": by_json}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_right_secret_is_taken_in_every_way(hand, way):
    assert way(hand).status == 200


@pytest.mark.parametrize("secret", ["wrong", "", "null"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_wrong_secret_is_401_invalid_client(hand, way, secret):
    reply = way(hand, secret)
    assert (reply.status, reply.error) == (401, "invalid_client")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_unknown_client_is_told_the_same_as_a_wrong_secret(hand, way):
    unknown, wrong = way(hand, client="nobody"), way(hand, "wrong")
    assert (unknown.status, unknown.text) == (wrong.status, wrong.text)


def test_a_challenge_comes_only_to_those_who_used_the_header(hand):
    assert by_basic(hand, "wrong").headers["www-authenticate"].startswith("Basic ")
    assert "www-authenticate" not in by_post(hand, "wrong").headers


@pytest.mark.parametrize("manner", WAYS)
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_takes_one_way_refuses_the_others(opened, manner, way):
    assert WAYS[way](opened(manner)).status == (200 if manner == way else 401)


def test_basic_is_form_decoded_as_the_rfc_says(opened):
    hand = opened(client_secrets={"sandbox-machine": "p:a+s s%w/ö&"})
    assert by_basic(hand).status == 200


def test_two_proofs_at_once_are_refused_even_if_both_are_right(hand):
    secret = hand.secret("sandbox-machine")
    body = urlencode({**GRANT, "client_id": "sandbox-machine", "client_secret": secret})
    header = basic("sandbox-machine", secret)
    reply = hand.ask("POST", "/token", body, content_type=FORM, authorization=header)
    assert (reply.status, reply.error) == (400, "invalid_request")


def test_header_and_body_must_name_the_same_client(hand):
    body = urlencode({**GRANT, "client_id": "sandbox-web"})
    header = basic("sandbox-machine", hand.secret("sandbox-machine"))
    assert hand.ask("POST", "/token", body, content_type=FORM, authorization=header).error == "invalid_request"


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Bearer x"])
def test_a_header_that_is_no_basic_is_invalid_client(hand, header):
    reply = hand.ask("POST", "/token", urlencode(GRANT), content_type=FORM, authorization=header)
    assert (reply.status, reply.error) == (401, "invalid_client")


def test_a_confidential_client_is_not_let_in_without_its_secret(hand):
    code = hand.code()
    fields = {"grant_type": "authorization_code", "code": code, "client_id": "sandbox-web"}
    body = urlencode({**fields, "redirect_uri": hand.callback, "code_verifier": hand.verifier})
    assert hand.ask("POST", "/token", body, content_type=FORM).error == "invalid_client"


def test_a_public_client_that_brings_a_secret_is_refused(hand):
    assert hand.redeem(hand.code(client_id="sandbox-cli"), "sandbox-cli", client_secret="x").error == "invalid_client"


def test_secrets_are_random_per_sandbox_unless_given(opened):
    one, other = opened(), opened(client_secrets={"sandbox-web": "given"})
    assert one.secret("sandbox-web") != other.secret("sandbox-web") == "given"
    assert len({hand.secret(client) for hand in (one, other) for client in ("sandbox-web", "sandbox-machine")}) == 4

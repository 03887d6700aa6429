"""The device flow, from both ends."""

import re

import pytest

from valetkey.errors import RequestRefused
from valetkey.testing import Manner
from valetkey.testing.browser import Browser

pytestmark = pytest.mark.network

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def now():
    return [1_000_000.0]


@pytest.fixture
def hand(opened, now):
    return opened(Manner(device_interval=5.0), clock=lambda: now[0])


def begin(hand, client="sandbox-cli", **fields):
    reply = hand.post("/device_authorization", client, **fields)
    assert reply.status == 200, reply.text
    return reply.json


def poll(hand, asked, client="sandbox-cli"):
    return hand.token(DEVICE, client, device_code=asked["device_code"])


def test_the_answer_has_what_rfc_8628_asks_for(hand):
    asked = begin(hand)
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", asked["user_code"])
    assert asked["verification_uri"] == f"{hand.sandbox.url}/device"
    assert asked["verification_uri_complete"].startswith(asked["verification_uri"] + "?user_code=")
    assert (asked["expires_in"], asked["interval"]) == (600, 5)


@pytest.mark.parametrize("client", ["sandbox-cli", "sandbox-web"])
def test_pending_then_approved_then_used_once(hand, now, client):
    asked = begin(hand, client, scope="read")
    assert poll(hand, asked, client).error == "authorization_pending"
    hand.sandbox.approve_device(asked["user_code"], "bob")
    now[0] += 5
    answer = poll(hand, asked, client).json
    who = hand.whoami(answer["access_token"]).json
    assert (who["user"], who["client"], who["grant"], who["scopes"]) == ("bob", client, "device_code", ["read"])
    assert hand.refresh(answer["refresh_token"], client).status == 200
    now[0] += 5
    assert poll(hand, asked, client).error == "invalid_grant"


def test_denied_is_access_denied(hand):
    asked = begin(hand)
    hand.sandbox.approve_device(asked["user_code"], allow=False)
    assert poll(hand, asked).error == "access_denied"


def test_asking_too_soon_is_told_to_slow_down_and_must_wait_five_seconds_longer(hand, now):
    asked = begin(hand)
    assert poll(hand, asked).error == "authorization_pending"
    now[0] += 4
    assert poll(hand, asked).error == "slow_down"
    now[0] += 5
    assert poll(hand, asked).error == "slow_down"
    now[0] += 15
    assert poll(hand, asked).error == "authorization_pending"


def test_the_codes_expire_for_the_device_and_for_the_person(hand, now):
    asked = begin(hand)
    now[0] += 600
    assert poll(hand, asked).error == "expired_token"
    with pytest.raises(RequestRefused) as raised:
        hand.sandbox.approve_device(asked["user_code"])
    assert raised.value.code == "unknown_user_code"


@pytest.mark.parametrize("typed", ["bcdf", "{code}X", "AEIOU", "<b>"])
def test_a_mistyped_code_is_refused(hand, typed):
    asked = begin(hand)
    with pytest.raises(RequestRefused):
        hand.sandbox.approve_device(typed.format(code=asked["user_code"]))
    assert poll(hand, asked).error == "authorization_pending"


@pytest.mark.parametrize("write", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code} "])
def test_a_code_is_taken_however_people_type_it(hand, write):
    asked = begin(hand)
    hand.sandbox.approve_device(write(asked["user_code"]))
    assert poll(hand, asked).status == 200


def test_a_code_is_decided_once(hand):
    asked = begin(hand)
    hand.sandbox.approve_device(asked["user_code"], "alice")
    with pytest.raises(RequestRefused):
        hand.sandbox.approve_device(asked["user_code"], "mallory", allow=False)
    assert poll(hand, asked).status == 200


def test_a_device_code_is_refused_for_another_client(hand):
    assert poll(hand, begin(hand), "sandbox-web").error == "invalid_grant"


def test_a_client_without_the_device_flow_gets_no_codes(hand):
    assert hand.post("/device_authorization", "sandbox-machine").error == "unauthorized_client"


def test_a_parameter_given_twice_is_refused(hand):
    body = "client_id=sandbox-cli&scope=read&scope=write"
    reply = hand.ask("POST", "/device_authorization", body, content_type="application/x-www-form-urlencoded")
    assert (reply.status, reply.error) == (400, "invalid_request")


def test_an_unknown_client_gets_no_codes(hand):
    reply = hand.post("/device_authorization", "sandbox-web", client_secret="wrong")
    assert (reply.status, reply.error) == (401, "invalid_client")


def test_the_complete_address_leads_to_the_same_question_with_the_code_shown(hand):
    asked = begin(hand)
    with Browser() as browser:
        page = browser.visit(asked["verification_uri_complete"], {"login": "alice", "decision": "allow"})
    assert page.status == 200
    assert poll(hand, asked).status == 200

"""The device flow, from both ends."""

import re
from html import unescape
from urllib.parse import urljoin

import httpx
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


def pages(address, login="alice"):
    """Return the page at an address, and what comes when a person signs in there."""
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        first = client.get(address).text
        csrf, action = re.search('name="csrf" value="([^"]+)"', first)[1], re.search('action="([^"]+)"', first)[1]
        return first, client.post(urljoin(address, unescape(action)), data={"csrf": csrf, "login": login}).text


def test_the_code_of_the_address_is_shown_from_the_first_page_on(hand):
    asked = begin(hand)
    first, nameless = pages(asked["verification_uri_complete"], login=" ")
    assert asked["user_code"] in first
    assert asked["user_code"] in nameless
    assert 'class="code"' not in pages(asked["verification_uri"])[0]


def test_a_code_that_leads_nowhere_stays_in_the_form_and_is_told_apart(hand, now):
    used, old = begin(hand), begin(hand)
    hand.sandbox.approve_device(used["user_code"])
    now[0] += 599
    answered = pages(used["verification_uri_complete"])[1]
    assert "answered already" in answered
    assert f'value="{used["user_code"]}"' in answered
    assert "Does your device show this code?" in pages(old["verification_uri_complete"])[1]
    mistyped = pages(f"{hand.sandbox.url}/device?user_code=bcdf+ghj")[1]
    assert "Is it typed right?" in mistyped
    assert 'value="BCDF-GHJ"' in mistyped
    assert 'role="alert"' not in pages(f"{hand.sandbox.url}/device")[1]


def test_a_code_that_is_too_old_is_said_to_be(hand, now):
    asked = begin(hand)
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        first = client.get(asked["verification_uri_complete"]).text
        csrf = re.search('name="csrf" value="([^"]+)"', first)[1]
        client.post(asked["verification_uri_complete"], data={"csrf": csrf, "login": "alice"})
        now[0] += 600
        page = client.get(asked["verification_uri_complete"])
    assert (page.status_code, "This code is too old" in page.text) == (400, True)

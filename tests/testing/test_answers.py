"""In what shape the token endpoint answers, manner by manner."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from valetkey.testing import MANNERS

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    ("manner", "expires_in"),
    [
        ("rotating", 90),
        ("expiry_as_text", "90"),
        ("expiry_missing", None),
        ("expiry_in_ms", 90_500),
        ("expiry_zero", 0),
    ],
)
def test_the_lifetime_is_told_in_many_ways(opened, manner, expires_in):
    hand = opened(manner, access_lifetime=90.5)
    assert hand.connect().get("expires_in") == expires_in


@pytest.mark.parametrize("manner", ["rotating", "expiry_as_text", "expiry_missing", "expiry_in_ms"])
def test_however_it_is_told_the_token_ends_at_its_lifetime(opened, manner):
    now = [1_000_000.0]
    hand = opened(manner, access_lifetime=90.5, clock=lambda: now[0])
    token = hand.connect()["access_token"]
    now[0] += 90.25
    assert hand.whoami(token).status == 200
    now[0] += 0.25
    assert hand.whoami(token).status == 401


def test_zero_means_that_it_never_ends(opened):
    hand = opened("expiry_zero")
    token = hand.connect()["access_token"]
    hand.sandbox.advance(10 * 365 * 86_400)
    assert hand.whoami(token).status == 200


def test_a_lifetime_under_a_second_is_told_as_one(opened):
    assert opened(access_lifetime=0.25).connect()["expires_in"] == 1


def test_form_answers_are_form_encoded_and_errors_stand_in_200(opened):
    hand = opened("form_answers")
    reply = hand.redeem(hand.code())
    assert reply.headers["content-type"].startswith("application/x-www-form-urlencoded")
    answer = {name: values[0] for name, values in parse_qs(reply.text).items()}
    assert hand.whoami(answer["access_token"]).status == 200
    assert (answer["scope"], answer["token_type"]) == ("profile read write", "Bearer")
    wrong = hand.redeem("made-up")
    assert (wrong.status, parse_qs(wrong.text)["error"]) == (200, ["invalid_grant"])


def test_errors_in_200_say_ok_false_and_answers_say_ok_true(opened):
    hand = opened("errors_in_200")
    wrong = hand.redeem("made-up")
    assert (wrong.status, wrong.json["ok"], wrong.error) == (200, False, "invalid_grant")
    assert hand.connect()["ok"] is True


def test_a_nested_token_stands_under_its_member_and_nowhere_else(opened):
    answer = opened("nested").connect()
    assert set(answer) == {"ok", "authed_user"}
    assert {"access_token", "refresh_token", "expires_in", "scope"} <= set(answer["authed_user"])


def test_narrow_scopes_are_granted_less_than_was_asked_and_it_is_said(opened):
    hand = opened("narrow_scopes")
    answer = hand.connect(scope="read write")
    assert answer["scope"] == "read"
    assert hand.whoami(answer["access_token"]).json["scopes"] == ["read"]


def test_extras_come_with_the_token_and_with_the_callback(opened):
    hand = opened("extras")
    assert "realmId=4620" in hand.sandbox.login(hand.authorization_url())
    assert hand.connect()["instance_url"] == "https://eu7.example"


@pytest.mark.parametrize("manner", sorted(name for name, habits in MANNERS.items() if habits.answers == "json"))
def test_whoever_follows_the_description_finds_the_token_and_may_use_it_there(opened, manner):
    hand = opened(manner)
    described = hand.sandbox.provider()
    member = _as_public_client(hand)
    for step in described.answer.access_token.split("."):
        member = member[step]
    assert described.api.hosts == [urlsplit(described.api.whoami).netloc]
    who = hand.http.request("GET", described.api.whoami, headers={"authorization": f"Bearer {member}"})
    assert who.status == 200


def _as_public_client(hand):
    # It needs no secret, so that the manners which take a secret in one way only are no obstacle.
    fields = {
        "grant_type": "authorization_code",
        "code": hand.code(client_id="sandbox-cli"),
        "client_id": "sandbox-cli",
    }
    body = urlencode({**fields, "redirect_uri": hand.callback, "code_verifier": hand.verifier})
    return hand.ask("POST", "/token", body, content_type="application/x-www-form-urlencoded").json


@pytest.mark.parametrize(
    ("manner", "rotates", "old_token", "reuse"),
    [
        ("rotating", "always", "dies", "revokes_family"),
        ("rotating_refused", "always", "dies", "refused"),
        ("rotating_grace", "always", "grace", "revokes_family"),
        ("until_new_is_used", "always", "until_new_is_used", "revokes_family"),
        ("old_stays", "always", "stays", "harmless"),
        ("never_rotates", "never", "stays", "harmless"),
    ],
)
def test_the_description_knows_how_refresh_tokens_behave(opened, manner, rotates, old_token, reuse):
    refresh = opened(manner).sandbox.provider().refresh
    assert (refresh.rotates, refresh.old_token, refresh.reuse) == (rotates, old_token, reuse)


def test_the_description_follows_the_nesting_and_the_demands(opened):
    assert opened("nested").sandbox.provider().answer.access_token == "authed_user.access_token"
    assert opened("expiry_in_ms").sandbox.provider().answer.expires_unit == "ms"
    assert opened("json_only").sandbox.provider().asking.token_auth == "client_secret_json"
    assert opened("offline_access").sandbox.provider().offline_scopes == ["offline_access"]
    assert opened("access_type").sandbox.provider().asking.authorize_params == {"access_type": "offline"}
    assert opened("extras").sandbox.provider().answer.keep == ["instance_url", "realmId"]

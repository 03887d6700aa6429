"""Every grant of the sandbox's token endpoint, and what each refuses."""

import json

import pytest

from valetkey.testing import Manner

pytestmark = pytest.mark.network

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def test_a_code_gives_an_access_and_a_refresh_token_that_nobody_may_cache(hand):
    reply = hand.redeem(hand.code())
    answer = reply.json
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert set(answer) == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 3600, "profile read write")
    assert hand.whoami(answer["access_token"]).json["user"] == "alice"


def test_a_public_client_needs_no_secret_but_pkce(hand):
    code = hand.code(client_id="sandbox-cli")
    reply = hand.redeem(code, "sandbox-cli")
    assert reply.status == 200
    assert hand.whoami(reply.json["access_token"]).json["client"] == "sandbox-cli"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
        {"code_verifier": ""},
        {"code_verifier": "short"},
        {"redirect_uri": "http://127.0.0.1:49153/callback"},
        {"redirect_uri": ""},
    ],
    ids=["other verifier", "no verifier", "short verifier", "other redirect_uri", "no redirect_uri"],
)
def test_a_code_is_refused_with_anything_else_than_it_was_asked_with(hand, changed):
    reply = hand.redeem(hand.code(), **changed)
    assert (reply.status, reply.error) == (400, "invalid_grant")


def test_a_code_is_refused_for_another_client_and_stays_good_for_its_own(hand):
    code = hand.code()
    assert hand.redeem(code, "sandbox-cli").error == "invalid_grant"
    assert hand.redeem(code).status == 200


def test_a_code_used_twice_ends_what_was_drawn_from_it(hand):
    code = hand.code()
    answer = hand.redeem(code).json
    assert hand.redeem(code).error == "invalid_grant"
    assert hand.whoami(answer["access_token"]).status == 401
    assert hand.refresh(answer["refresh_token"]).error == "invalid_grant"
    assert not hand.sandbox.grant_alive("alice")


def test_a_code_expires(hand):
    code = hand.code()
    hand.sandbox.advance(60)
    assert hand.redeem(code).error == "invalid_grant"


def test_a_verifier_without_a_challenge_is_refused_as_a_downgrade(opened):
    hand = opened(Manner(pkce="optional"))
    bare = {"code_challenge": "", "code_challenge_method": ""}
    assert hand.redeem(hand.code(**bare)).error == "invalid_grant"
    assert hand.redeem(hand.code(**bare), code_verifier="").status == 200


def test_client_credentials_give_a_token_of_the_client_and_no_refresh_token(hand):
    answer = hand.token("client_credentials", "sandbox-machine", scope="read write").json
    assert "refresh_token" not in answer
    who = hand.whoami(answer["access_token"]).json
    assert (who["user"], who["grant"], who["scopes"]) == ("sandbox-machine", "client_credentials", ["read", "write"])


def test_client_credentials_without_scope_get_the_default_and_it_is_said(hand):
    assert hand.token("client_credentials", "sandbox-machine").json["scope"] == "read"


def test_audience_and_resource_are_kept(hand):
    fields = {"audience": "billing", "resource": "https://api.example/v1"}
    answer = hand.token("client_credentials", "sandbox-machine", **fields).json
    assert hand.whoami(answer["access_token"]).json["audience"] == ["https://api.example/v1", "billing"]


@pytest.mark.parametrize("resource", ["api", "https://api.example/#part", "https://[broken"])
def test_a_resource_that_is_no_absolute_uri_is_an_invalid_target(hand, resource):
    assert hand.token("client_credentials", "sandbox-machine", resource=resource).error == "invalid_target"


def test_a_resource_beyond_the_grant_is_an_invalid_target_and_nothing_is_spent(hand):
    code = hand.code(resource="https://api.example/v1")
    assert hand.redeem(code, resource="https://api.example/v2").error == "invalid_target"
    answer = hand.redeem(code, resource="https://api.example/v1").json
    assert hand.whoami(answer["access_token"]).json["audience"] == ["https://api.example/v1"]
    assert hand.refresh(answer["refresh_token"], resource="https://other.example/").error == "invalid_target"
    assert hand.refresh(answer["refresh_token"]).status == 200


def test_an_unknown_scope_is_refused_and_not_repeated(hand):
    reply = hand.token("client_credentials", "sandbox-machine", scope="read <b>root</b>")
    assert (reply.status, reply.error) == (400, "invalid_scope")
    assert "root" not in reply.text


@pytest.mark.parametrize(
    ("grant_type", "client", "error"),
    [
        ("client_credentials", "sandbox-web", "unauthorized_client"),
        ("client_credentials", "sandbox-cli", "unauthorized_client"),
        ("authorization_code", "sandbox-machine", "unauthorized_client"),
        ("password", "sandbox-web", "unsupported_grant_type"),
        ("", "sandbox-web", "invalid_request"),
    ],
)
def test_a_grant_that_is_not_the_clients_is_refused(hand, grant_type, client, error):
    assert hand.token(grant_type, client).error == error


def test_a_refresh_may_ask_for_less_and_the_next_may_have_all_again(hand):
    first = hand.connect()
    less = hand.refresh(first["refresh_token"], scope="read").json
    assert less["scope"] == "read"
    assert hand.refresh(less["refresh_token"]).json["scope"] == "profile read write"


def test_a_refresh_may_not_ask_for_more_and_the_token_is_not_spent_by_asking(hand):
    first = hand.connect(scope="read")
    assert hand.refresh(first["refresh_token"], scope="read write").error == "invalid_scope"
    assert hand.refresh(first["refresh_token"]).status == 200


def test_a_refresh_token_is_refused_for_another_client(hand):
    first = hand.connect()
    assert hand.refresh(first["refresh_token"], "sandbox-cli").error == "invalid_grant"
    assert hand.refresh(first["refresh_token"]).status == 200


def test_an_exchanged_token_is_narrower_names_its_holder_and_ends_with_its_grant(hand):
    first = hand.connect()
    fields = {"subject_token": first["access_token"], "subject_token_type": ACCESS_TOKEN}
    answer = hand.token(EXCHANGE, "sandbox-machine", scope="read", audience="billing", **fields).json
    assert answer["issued_token_type"] == ACCESS_TOKEN
    who = hand.whoami(answer["access_token"]).json
    assert (who["user"], who["client"], who["scopes"], who["audience"]) == (
        "alice",
        "sandbox-machine",
        ["read"],
        ["billing"],
    )
    hand.sandbox.revoke(user="alice")
    assert hand.whoami(answer["access_token"]).status == 401


def test_an_exchange_for_an_actor_says_who_acts(hand):
    actor = hand.token("client_credentials", "sandbox-machine").json["access_token"]
    subject = hand.connect()["access_token"]
    fields = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "actor_token": actor}
    answer = hand.token(EXCHANGE, "sandbox-machine", actor_token_type=ACCESS_TOKEN, **fields).json
    assert hand.whoami(answer["access_token"]).json["actor"] == "sandbox-machine"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"subject_token": "made-up"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"scope": "read write"}, "invalid_scope"),
        ({"actor_token": "made-up", "actor_token_type": ACCESS_TOKEN}, "invalid_request"),
    ],
)
def test_an_exchange_is_refused_when_a_part_does_not_hold(hand, changed, error):
    subject = hand.connect(scope="read")["access_token"]
    fields = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, **changed}
    assert hand.token(EXCHANGE, "sandbox-machine", **fields).error == error


def test_a_parameter_given_twice_is_refused(hand):
    body = "grant_type=client_credentials&client_id=sandbox-machine&scope=read&scope=write"
    reply = hand.ask("POST", "/token", body, content_type="application/x-www-form-urlencoded")
    assert (reply.status, reply.error) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", "grant_type=client_credentials"),
        ("application/json", "[1]"),
        ("application/json", '{"grant_type": {"a": "b"}}'),
        ("application/json", "{" * 50_000),
        ("application/json", json.dumps({f"a{n}": "1" for n in range(65)})),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(65))),
        ("application/x-www-form-urlencoded", "grant_type=%ff"),
    ],
    ids=["wrong type", "list", "nested", "deep", "too many members", "too many", "not utf-8"],
)
def test_a_body_that_cannot_be_read_is_an_invalid_request(hand, kind, body):
    reply = hand.ask("POST", "/token", body, content_type=kind)
    assert (reply.status, reply.error) == (400, "invalid_request")

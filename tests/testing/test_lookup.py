"""Revocation, introspection and metadata."""

import pytest

pytestmark = pytest.mark.network


def introspect(hand, token, client="sandbox-machine"):
    return hand.post("/introspect", client, token=token)


def test_revoking_a_refresh_token_ends_its_grant(hand):
    answer = hand.connect()
    assert hand.post("/revoke", token=answer["refresh_token"]).status == 200
    assert hand.whoami(answer["access_token"]).status == 401
    assert hand.refresh(answer["refresh_token"]).error == "invalid_grant"
    assert not hand.sandbox.grant_alive("alice")


def test_revoking_an_access_token_ends_only_that(hand):
    answer = hand.connect()
    assert hand.post("/revoke", token=answer["access_token"]).status == 200
    assert hand.whoami(answer["access_token"]).status == 401
    assert hand.refresh(answer["refresh_token"]).status == 200


def test_revoking_what_is_unknown_is_fine_and_twice_too(hand):
    answer = hand.connect()
    for token in ("made-up", answer["refresh_token"], answer["refresh_token"]):
        assert hand.post("/revoke", token=token).status == 200


def test_only_the_holder_may_revoke(hand):
    answer = hand.connect()
    for token in (answer["refresh_token"], answer["access_token"]):
        assert hand.post("/revoke", "sandbox-cli", token=token).error == "invalid_grant"
    assert hand.whoami(answer["access_token"]).status == 200


def test_revoking_needs_the_clients_proof_and_a_token(hand):
    assert hand.post("/revoke", client_secret="wrong", token="x").status == 401
    assert hand.post("/revoke").error == "invalid_request"


def test_introspection_tells_of_a_living_access_token(hand):
    told = introspect(hand, hand.connect(scope="read")["access_token"]).json
    assert told["active"] is True
    assert (told["scope"], told["client_id"], told["sub"]) == ("read", "sandbox-web", "alice")
    assert told["exp"] - told["iat"] == 3600
    assert told["iss"] == hand.sandbox.issuer


def test_introspection_tells_of_a_living_refresh_token_and_not_of_a_replaced_one(hand):
    old = hand.connect()["refresh_token"]
    assert introspect(hand, old).json["active"] is True
    new = hand.refresh(old).json["refresh_token"]
    assert introspect(hand, old).json == {"active": False}
    assert introspect(hand, new).json["active"] is True


def test_introspection_tells_nothing_of_what_is_dead_or_unknown(hand):
    token = hand.connect()["access_token"]
    hand.sandbox.expire_access_tokens()
    assert introspect(hand, token).json == introspect(hand, "made-up").json == {"active": False}


def test_introspection_is_for_confidential_clients_only(hand):
    reply = introspect(hand, "made-up", "sandbox-cli")
    assert (reply.status, reply.error) == (401, "invalid_client")
    assert introspect(hand, "").error == "invalid_request"


@pytest.mark.parametrize("path", ["oauth-authorization-server", "openid-configuration"])
def test_every_endpoint_of_the_metadata_is_there(hand, path):
    told = hand.ask("GET", f"/.well-known/{path}").json
    assert told["issuer"] == hand.sandbox.issuer == hand.sandbox.url
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["authorization_response_iss_parameter_supported"] is True
    endpoints = {name: url for name, url in told.items() if name.endswith("_endpoint")}
    assert len(endpoints) == 5
    for url in endpoints.values():
        assert url.startswith(told["issuer"])
        assert hand.ask("GET", url.removeprefix(told["issuer"])).status != 404


def test_the_metadata_names_every_grant_that_some_client_can_use(hand):
    named = set(hand.ask("GET", "/.well-known/oauth-authorization-server").json["grant_types_supported"])
    assert {"authorization_code", "client_credentials", "refresh_token"} <= named
    assert "urn:ietf:params:oauth:grant-type:device_code" in named
    for grant in named:
        errors = {hand.token(grant, client).error for client in hand.sandbox.clients}
        assert errors - {"unauthorized_client", "unsupported_grant_type"}


def test_the_metadata_names_only_what_the_manner_takes(opened):
    told = opened("post_only").ask("GET", "/.well-known/oauth-authorization-server").json
    assert told["token_endpoint_auth_methods_supported"] == ["client_secret_post", "none"]
    assert told["introspection_endpoint_auth_methods_supported"] == ["client_secret_post"]

"""The protected API: who called, what arrived, and where it leads."""

import json

import pytest

from valetkey.values import Secret

pytestmark = pytest.mark.network


@pytest.fixture
def token(hand):
    return hand.connect(scope="profile read")["access_token"]


def test_whoami_says_who_with_what_and_a_fingerprint_but_not_the_token(hand, token):
    reply = hand.whoami(token)
    who = reply.json
    assert (who["user"], who["client"], who["grant"]) == ("alice", "sandbox-web", "authorization_code")
    assert who["scopes"] == ["profile", "read"]
    assert len(who["token"]) == 12
    assert token not in reply.text
    assert 3590 < who["expires_in"] <= 3600


def test_the_fingerprint_is_the_one_our_secrets_give_themselves(hand, token):
    assert hand.whoami(token).json["token"] == Secret(token).fingerprint()


@pytest.mark.parametrize("path", ["/api/whoami", "/api/echo", "/api/redirect?to=https://example.com"])
def test_without_a_token_it_is_401_and_no_error_is_named(hand, path):
    reply = hand.ask("GET", path)
    assert reply.status == 401
    # RFC 6750 section 3.1: no error code for a request that brought nothing.
    assert reply.headers["www-authenticate"] == 'Bearer realm="sandbox"'


@pytest.mark.parametrize("header", ["Bearer made-up", "bearer made-up", "BEARER   made-up"])
def test_an_unknown_token_is_401_invalid_token(hand, header):
    reply = hand.ask("GET", "/api/whoami", authorization=header)
    assert reply.status == 401
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


def test_a_refresh_token_is_no_access_token(hand):
    assert hand.whoami(hand.connect()["refresh_token"]).status == 401


def test_a_token_in_the_url_is_refused(hand, token):
    assert hand.ask("GET", f"/api/whoami?access_token={token}").status == 400


def test_a_missing_scope_is_403_and_named(hand, token):
    reply = hand.ask("POST", "/api/echo", "x", authorization=f"Bearer {token}")
    assert (reply.status, reply.error) == (403, "insufficient_scope")
    assert 'scope="write"' in reply.headers["www-authenticate"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_echo_tells_what_arrived_without_its_secrets(hand, method):
    token = hand.connect(scope="read write")["access_token"]
    body = None if method == "GET" else '{"a": 1}'
    reply = hand.ask(
        method, "/api/echo?b=2&b=3", body, authorization=f"Bearer {token}", x_mark="seen", cookie="sid=secret"
    )
    told = reply.json
    assert (told["method"], told["path"], told["query"]) == (method, "/api/echo", [["b", "2"], ["b", "3"]])
    assert told["body"] == (body or "")
    assert told["headers"]["x-mark"] == "seen"
    assert told["headers"]["authorization"] == told["headers"]["cookie"] == "…"
    assert token not in reply.text
    assert told["caller"]["user"] == "alice"


def test_head_answers_like_get_with_nothing_in_it(hand, token):
    reply = hand.ask("HEAD", "/api/whoami", authorization=f"Bearer {token}")
    assert (reply.status, reply.text) == (200, "")
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_leads_elsewhere(hand, token, status):
    path = f"/api/redirect?to=http://localhost:9/x&status={status}"
    reply = hand.ask("GET", path, authorization=f"Bearer {token}")
    assert (reply.status, reply.headers["location"]) == (status, "http://localhost:9/x")


@pytest.mark.parametrize(
    "query", ["", "to=ftp://a/", "to=//a/", "to=http://[broken", "to=http://a/%0d%0aX:1", "to=http://a/&status=200"]
)
def test_redirect_leads_only_to_plain_http_addresses(hand, token, query):
    reply = hand.ask("GET", f"/api/redirect?{query}", authorization=f"Bearer {token}")
    assert (reply.status, reply.error) == (400, "invalid_request")


def test_expired_tokens_are_refused_and_a_refresh_brings_a_new_one(hand):
    first = hand.connect()
    assert hand.sandbox.expire_access_tokens() == 1
    assert hand.whoami(first["access_token"]).status == 401
    assert hand.whoami(hand.refresh(first["refresh_token"]).json["access_token"]).status == 200


def test_a_wrong_method_is_405_and_the_right_ones_are_named(hand):
    reply = hand.ask("DELETE", "/token")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert hand.ask("OPTIONS", "/api/echo").status == 405


def test_an_unknown_address_is_404(hand):
    assert hand.ask("GET", "/nothing").status == 404


def test_health_answers_without_a_token(hand):
    assert json.loads(hand.ask("GET", "/health").text) == {"status": "ok", "issuer": hand.sandbox.issuer}


def test_the_home_page_says_what_this_is(hand):
    page = hand.ask("GET", "/")
    assert page.status == 200
    assert hand.sandbox.issuer in page.text
    assert "sandbox-machine" in page.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[broken"])
def test_asked_under_a_foreign_name_it_answers_nobody(hand, host):
    """A page of another site may let its name resolve to 127.0.0.1; the browser then sends that name."""
    reply = hand.ask("GET", "/health", host=host)
    assert reply.status == 421

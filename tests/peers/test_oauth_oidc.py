"""The client's half of OAuth2 against npm oidc-provider: every grant, every way to prove a client, every "no".

What may not be here: the vault. What is asked is asked by `oauth/`, what is read is read by it; httpx only carries.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import httpx
import pytest

from valetkey.errors import (
    AuthorizationPending,
    BadAnswer,
    CallbackRefused,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    RequestRefused,
)
from valetkey.jose.key import Key
from valetkey.oauth.authentication import client_auth
from valetkey.oauth.authorize import Expected, authorization_url, code_request, read_redirect
from valetkey.oauth.client import Client, Stamp
from valetkey.oauth.device import device_request, device_token_request, read_device
from valetkey.oauth.discovery import discovery_requests, read_discovery
from valetkey.oauth.introspection import introspection_request, read_introspection
from valetkey.oauth.pkce import challenge, verifier_from
from valetkey.oauth.reading import read_token
from valetkey.oauth.revocation import read_revocation, revocation_request
from valetkey.oauth.token import client_credentials_request, refresh_request
from valetkey.values import Response, Secret, lowered

REDIRECT = "http://127.0.0.1:5999/cb"
SCOPES = ["openid", "api:read"]


@pytest.fixture
def send():
    """Carry a request as it is, and bring back the answer as it is."""
    with httpx.Client(trust_env=False, verify=False, timeout=30, follow_redirects=False) as http:

        def go(request):
            answer = http.request(request.method, request.url, headers=request.headers, content=request.body)
            return Response(answer.status_code, lowered(answer.headers.multi_items()), answer.content)

        yield go


@pytest.fixture
def provider(oidc, send):
    """Find the provider by its issuer: the first document that can be read."""
    for request in discovery_requests(oidc.issuer):
        try:
            return read_discovery(oidc.issuer, send(request))
        except BadAnswer:
            continue
    return pytest.fail("no discovery document")


@pytest.fixture
def client(oidc, provider):
    def make(name, secret=""):
        known = oidc.clients[name]
        key = Key.from_jwk(known.key) if known.key else None
        return Client(provider, name, client_auth(known.method, Secret(secret or known.secret), key))

    return make


def stamp():
    return Stamp(datetime.now(UTC), secrets.token_hex(16))


class Login:
    """Be one login under way: state and verifier drawn, the person's answer read."""

    def __init__(self, client):
        self.client = client
        self.verifier = verifier_from(secrets.token_bytes(32))
        self.state = Secret(secrets.token_urlsafe(32))
        self.expected = Expected(self.state, client.provider.endpoints.issuer, REDIRECT, requires_iss=True)
        self.url = authorization_url(
            client,
            redirect_uri=REDIRECT,
            scopes=SCOPES,
            state=self.state,
            challenge=challenge(self.verifier),
        )

    def read(self, answer):
        return read_redirect(answer, self.expected, self.client)

    def redeem(self, code, verifier=None):
        return code_request(self.client, code, verifier=verifier or self.verifier, stamp=stamp())


@pytest.fixture
def tokens(browser, send):
    def connect(client):
        login = Login(client)
        request = login.redeem(login.read(browser.allow(login.url, REDIRECT)))
        return read_token(client, send(request), asked=SCOPES)

    return connect


def test_the_issuer_describes_itself(oidc, provider):
    urls = provider.endpoints
    assert (urls.token, urls.authorize, urls.device) == (oidc.token, oidc.authorize, oidc.device)
    assert (urls.revoke, urls.introspect, urls.jwks) == (oidc.revoke, oidc.introspect, oidc.jwks)
    assert (provider.asking.pkce, provider.asking.sends_iss) == ("S256", True)
    assert {"authorization_code", "client_credentials", "device_code"} <= set(provider.grants)


@pytest.mark.parametrize("name", ["m2m", "m2m-post", "m2m odd:id", "m2m-rsa", "m2m-ec", "m2m-hmac"])
def test_every_way_to_prove_a_client_is_accepted(client, send, name):
    machine = client(name)
    token = read_token(machine, send(client_credentials_request(machine, stamp=stamp(), scopes=["api:read"])))
    assert (token.kind, token.scopes, token.expires_in) == ("Bearer", ("api:read",), 300.0)
    assert token.refresh_token is None


def test_an_assertion_is_good_once(client, send):
    machine = client("m2m-ec")
    request = client_credentials_request(machine, stamp=stamp())
    assert read_token(machine, send(request)).access_token
    with pytest.raises(ClientRefused):
        read_token(machine, send(request))


def test_a_resource_is_understood(client, send):
    machine = client("m2m")
    request = client_credentials_request(machine, stamp=stamp(), resource=["https://api.example"], scopes=["api:write"])
    assert read_token(machine, send(request)).access_token.reveal().count(".") == 2


@pytest.mark.parametrize("name", ["m2m", "m2m-post"])
def test_a_wrong_secret_is_the_client_s_fault(client, send, name):
    machine = client(name, secret="wrong")
    with pytest.raises(ClientRefused) as refused:
        read_token(machine, send(client_credentials_request(machine, stamp=stamp())))
    assert refused.value.code == "invalid_client"


def test_a_scope_that_is_not_the_client_s_is_named_as_such(client, send):
    machine = client("m2m")
    with pytest.raises(RequestRefused) as refused:
        read_token(machine, send(client_credentials_request(machine, stamp=stamp(), scopes=["openid"])))
    assert refused.value.code == "invalid_scope"


@pytest.mark.parametrize("name", ["web", "web-post", "cli"])
def test_a_person_connects_with_pkce_and_the_tokens_hold(client, tokens, send, name):
    asker = client(name)
    got = tokens(asker)
    assert got.refresh_token
    assert got.id_token
    assert (got.kind, got.missing, got.oddities) == ("Bearer", (), ())
    known = read_introspection(asker, send(introspection_request(asker, got.access_token, stamp=stamp())))
    assert known.active
    assert (known.client_id, set(known.scopes)) == (name, set(got.scopes))


def test_a_person_who_denies_is_told_from_an_error(client, browser):
    login = Login(client("web"))
    with pytest.raises(ConsentDenied):
        login.read(browser.deny(login.url, REDIRECT))


def test_an_answer_is_good_for_its_own_login_only(client, browser):
    one, other = Login(client("web")), Login(client("web"))
    answer = browser.allow(one.url, REDIRECT)
    with pytest.raises(CallbackRefused) as refused:
        other.read(answer)
    assert refused.value.code == "state_unknown"


def test_a_code_is_good_once_and_only_with_its_verifier(client, browser, send):
    login = Login(client("web"))
    code = login.read(browser.allow(login.url, REDIRECT))
    with pytest.raises(GrantRefused):
        read_token(login.client, send(login.redeem(code, verifier=verifier_from(bytes(32)))))
    login = Login(client("web"))
    request = login.redeem(login.read(browser.allow(login.url, REDIRECT)))
    assert read_token(login.client, send(request)).access_token
    with pytest.raises(GrantRefused) as refused:
        read_token(login.client, send(request))
    assert refused.value.code == "invalid_grant"


def test_a_refresh_rotates_and_a_used_token_ends_the_grant(client, tokens, send):
    web = client("web")
    first = tokens(web)
    second = read_token(web, send(refresh_request(web, first.refresh_token, stamp=stamp())))
    assert second.refresh_token != first.refresh_token
    for spent in (first.refresh_token, second.refresh_token):
        with pytest.raises(GrantRefused):
            read_token(web, send(refresh_request(web, spent, stamp=stamp())))


def test_a_revoked_token_is_gone_and_revoking_it_again_is_no_error(client, tokens, send):
    web = client("web")
    got = tokens(web)
    for _ in range(2):
        request = revocation_request(web, got.refresh_token, stamp=stamp(), hint="refresh_token")
        assert read_revocation(web, send(request)) is None
    with pytest.raises(GrantRefused):
        read_token(web, send(refresh_request(web, got.refresh_token, stamp=stamp())))
    asked = introspection_request(web, got.access_token, stamp=stamp(), hint="access_token")
    assert not read_introspection(web, send(asked)).active


def test_a_device_waits_for_its_person(client, browser, send):
    cli = client("cli")
    shown = read_device(cli, send(device_request(cli, stamp=stamp(), scopes=SCOPES)))
    assert (shown.interval, shown.expires_in) == (5.0, 300.0)

    def poll():
        return read_token(cli, send(device_token_request(cli, shown.device_code, stamp=stamp())), asked=SCOPES)

    with pytest.raises(AuthorizationPending) as waiting:
        poll()
    assert waiting.value.code == "authorization_pending"
    browser.approve_device(shown.verification_uri, shown.user_code)
    got = poll()
    assert got.refresh_token
    assert got.missing == ()


def test_a_person_may_refuse_a_device(client, browser, send):
    cli = client("cli")
    shown = read_device(cli, send(device_request(cli, stamp=stamp(), scopes=SCOPES)))
    browser.refuse_device(shown.verification_uri_complete)
    with pytest.raises(ConsentDenied):
        read_token(cli, send(device_token_request(cli, shown.device_code, stamp=stamp())))

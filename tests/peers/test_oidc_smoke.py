"""That the judge is a judge: npm oidc-provider does what we will be measured against, shown by bare HTTP.

What may not be here: valetkey. When one of these fails, the server or the fixture is wrong, not our client.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, import_key

CALLBACK = "http://127.0.0.1:5999/cb"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def http():
    with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
        yield client


def pkce() -> tuple[str, str]:
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return verifier, challenge


def authorize_url(oidc, client_id: str, **more: str) -> str:
    asked = {
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "openid offline_access api:read",
        "prompt": "consent",
        "state": "xyz",
        "code_challenge_method": "S256",
        **more,
    }
    return str(httpx.URL(oidc.authorize, params=asked))


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def basic(client) -> httpx.BasicAuth:
    return httpx.BasicAuth(quote(client.id, safe=""), quote(client.secret, safe=""))


def connect(oidc, browser, http, client_id: str = "web") -> dict:
    verifier, challenge = pkce()
    answer = query(browser.allow(authorize_url(oidc, client_id, code_challenge=challenge), CALLBACK))
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }
    response = http.post(oidc.token, data=form, auth=basic(oidc.clients[client_id]))
    assert response.status_code == 200, response.text
    return response.json()


def refresh(oidc, http, refresh_token: str, client_id: str = "web") -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return http.post(oidc.token, data=form, auth=basic(oidc.clients[client_id]))


def is_active(oidc, http, token: str) -> bool:
    answer = http.post(oidc.introspect, data={"token": token}, auth=basic(oidc.clients["web"]))
    return answer.json()["active"]


def test_a_code_is_given_with_state_and_issuer_and_redeemed_with_the_pkce_verifier(oidc, browser, http):
    verifier, challenge = pkce()
    answer = query(browser.allow(authorize_url(oidc, "web", code_challenge=challenge), CALLBACK))
    assert (answer["state"], answer["iss"]) == ("xyz", oidc.issuer)
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": CALLBACK}
    form["code_verifier"] = verifier
    tokens = http.post(oidc.token, data=form, auth=basic(oidc.clients["web"])).json()
    assert {"access_token", "refresh_token", "id_token", "expires_in"} <= tokens.keys()
    assert tokens["scope"] == "openid offline_access api:read"


def test_a_wrong_pkce_verifier_is_refused(oidc, browser, http):
    _, challenge = pkce()
    answer = query(browser.allow(authorize_url(oidc, "web", code_challenge=challenge), CALLBACK))
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": CALLBACK}
    form["code_verifier"] = pkce()[0]
    response = http.post(oidc.token, data=form, auth=basic(oidc.clients["web"]))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_a_person_can_deny(oidc, browser):
    answer = query(browser.deny(authorize_url(oidc, "web", code_challenge=pkce()[1]), CALLBACK))
    assert (answer["error"], answer["state"]) == ("access_denied", "xyz")


def test_a_redirect_uri_that_is_not_registered_is_not_redirected_to(oidc, browser):
    url = authorize_url(oidc, "web-exact", code_challenge=pkce()[1], redirect_uri="http://127.0.0.1:5998/cb")
    response = browser.open(url)
    assert (response.status_code, "location" in response.headers) == (400, False)
    assert "redirect_uri" in response.text


def test_a_client_without_a_secret_redeems_a_code(oidc, browser, http):
    verifier, challenge = pkce()
    redirect = "http://127.0.0.1:43210/callback"  # any port: RFC 8252 section 7.3
    url = authorize_url(oidc, "cli", code_challenge=challenge, redirect_uri=redirect)
    form = {"grant_type": "authorization_code", "code": query(browser.allow(url, redirect))["code"]}
    form |= {"redirect_uri": redirect, "code_verifier": verifier, "client_id": "cli"}
    assert "refresh_token" in http.post(oidc.token, data=form).json()


@pytest.mark.parametrize("name", ["m2m", "m2m-post", "m2m odd:id"])
def test_a_machine_gets_a_token_with_its_secret(oidc, http, name):
    client = oidc.clients[name]
    form = {"grant_type": "client_credentials", "scope": "api:read"}
    if client.method == "client_secret_post":
        response = http.post(oidc.token, data={**form, "client_id": client.id, "client_secret": client.secret})
    else:
        response = http.post(oidc.token, data=form, auth=basic(client))
    assert response.status_code == 200, response.text
    assert (response.json()["token_type"], response.json()["scope"]) == ("Bearer", "api:read")


def test_a_wrong_secret_is_invalid_client(oidc, http):
    response = http.post(oidc.token, data={"grant_type": "client_credentials"}, auth=("m2m", "wrong"))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(("name", "algorithm"), [("m2m-rsa", "RS256"), ("m2m-ec", "ES256"), ("m2m-hmac", "HS256")])
def test_a_machine_gets_a_token_with_a_signed_assertion(oidc, http, name, algorithm):
    client = oidc.clients[name]
    key = import_key(client.key) if client.key else OctKey.import_key(client.secret)
    claims = {"iss": name, "sub": name, "aud": oidc.issuer, "jti": secrets.token_hex(8), "exp": int(time.time()) + 60}
    header = {"alg": algorithm, **({"kid": client.key["kid"]} if client.key else {})}
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION,
        "client_assertion": jwt.encode(header, claims, key),
    }
    first, again = (http.post(oidc.token, data=form) for _ in range(2))
    assert first.status_code == 200, first.text
    assert again.json()["error"] == "invalid_client", "an assertion is good once"


@pytest.mark.parametrize(
    ("resource", "algorithm"), [("https://api.example", "RS256"), ("https://es256.example", "ES256")]
)
def test_a_resource_makes_the_access_token_a_jwt_that_its_jwks_verifies(oidc, http, resource, algorithm):
    form = {"grant_type": "client_credentials", "resource": resource, "scope": "api:write"}
    token = http.post(oidc.token, data=form, auth=basic(oidc.clients["m2m"])).json()["access_token"]
    keys = KeySet.import_key_set(http.get(oidc.jwks).json())
    decoded = jwt.decode(token, keys, algorithms=[algorithm])
    assert decoded.header["typ"] == "at+jwt"
    assert (decoded.claims["aud"], decoded.claims["client_id"]) == (resource, "m2m")


def test_the_access_token_lives_as_long_as_the_environment_says(start_oidc, http):
    brief = start_oidc(access_token_ttl=7)
    answer = http.post(brief.token, data={"grant_type": "client_credentials"}, auth=basic(brief.clients["m2m"]))
    assert answer.json()["expires_in"] == 7


def test_a_device_waits_for_a_person_and_then_gets_tokens(oidc, browser, http):
    asked = {"client_id": "cli", "scope": "openid offline_access api:read", "prompt": "consent"}
    device = http.post(oidc.device, data=asked).json()
    poll = {"grant_type": DEVICE_CODE, "device_code": device["device_code"], "client_id": "cli"}
    assert http.post(oidc.token, data=poll).json()["error"] == "authorization_pending"
    browser.approve_device(device["verification_uri_complete"])
    assert "refresh_token" in http.post(oidc.token, data=poll).json()


def test_a_person_types_the_device_code_by_hand_and_a_wrong_one_is_not_taken(oidc, browser, http):
    device = http.post(oidc.device, data={"client_id": "cli", "scope": "openid"}).json()
    poll = {"grant_type": DEVICE_CODE, "device_code": device["device_code"], "client_id": "cli"}
    assert "incorrect" in browser.approve_device(device["verification_uri"], "AAAA-AAAA")
    assert http.post(oidc.token, data=poll).json()["error"] == "authorization_pending"
    browser.approve_device(device["verification_uri"], device["user_code"])
    assert "access_token" in http.post(oidc.token, data=poll).json()


def test_a_person_can_refuse_a_device(oidc, browser, http):
    device = http.post(oidc.device, data={"client_id": "cli", "scope": "openid"}).json()
    browser.refuse_device(device["verification_uri_complete"])
    poll = {"grant_type": DEVICE_CODE, "device_code": device["device_code"], "client_id": "cli"}
    assert http.post(oidc.token, data=poll).json()["error"] == "access_denied"


def test_a_refresh_token_is_rotated(oidc, browser, http):
    first = connect(oidc, browser, http)
    second = refresh(oidc, http, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert is_active(oidc, http, second["access_token"])


def test_a_refresh_token_used_twice_costs_the_whole_grant(oidc, browser, http):
    first = connect(oidc, browser, http)
    second = refresh(oidc, http, first["refresh_token"]).json()
    for spent in (first["refresh_token"], second["refresh_token"]):
        response = refresh(oidc, http, spent)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert not is_active(oidc, http, second["access_token"])


def test_one_client_keeps_its_refresh_token(oidc, browser, http):
    first = connect(oidc, browser, http, "web-static")
    for _ in range(2):
        answer = refresh(oidc, http, first["refresh_token"], "web-static").json()
        assert answer.get("refresh_token", first["refresh_token"]) == first["refresh_token"]


def test_a_revoked_refresh_token_is_dead(oidc, browser, http):
    tokens = connect(oidc, browser, http)
    auth = basic(oidc.clients["web"])
    assert is_active(oidc, http, tokens["access_token"])
    assert http.post(oidc.revoke, data={"token": tokens["refresh_token"]}, auth=auth).status_code == 200
    assert refresh(oidc, http, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert not is_active(oidc, http, tokens["access_token"])


def test_what_the_server_says_of_itself_is_discoverable(oidc, http):
    said = http.get(f"{oidc.issuer}/.well-known/openid-configuration").json()
    names = ["issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint"]
    names += ["revocation_endpoint", "introspection_endpoint", "jwks_uri"]
    expected = [oidc.issuer, oidc.authorize, oidc.token, oidc.device, oidc.revoke, oidc.introspect, oidc.jwks]
    assert expected == [said[name] for name in names]
    assert "S256" in said["code_challenge_methods_supported"]
    assert said["authorization_response_iss_parameter_supported"] is True

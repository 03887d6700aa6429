"""What an issuer publishes of itself: RFC 8414, OpenID Connect Discovery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import BadAnswer, InsecureUrl, InvalidInput, ProviderUnavailable, ValetkeyError
from valetkey.oauth.authentication import NoAuth
from valetkey.oauth.client import Client
from valetkey.oauth.discovery import ENDPOINTS, METHODS, discovery_requests, read_discovery
from valetkey.oauth.token import refresh_request
from valetkey.values import Response, Secret

ISSUER = "https://server.example.com"

# RFC 8414 section 3.2, without what we do not read
DOCUMENT = {
    "issuer": "https://server.example.com",
    "authorization_endpoint": "https://server.example.com/authorize",
    "token_endpoint": "https://server.example.com/token",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
    "userinfo_endpoint": "https://server.example.com/userinfo",
    "jwks_uri": "https://server.example.com/jwks.json",
    "registration_endpoint": "https://server.example.com/register",
    "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
    "response_types_supported": ["code", "code token"],
    "service_documentation": "http://server.example.com/service_documentation.html",
}


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://example.com",
            [
                "https://example.com/.well-known/oauth-authorization-server",
                "https://example.com/.well-known/openid-configuration",
            ],
        ),
        (
            "https://example.com/",
            [
                "https://example.com/.well-known/oauth-authorization-server",
                "https://example.com/.well-known/openid-configuration",
            ],
        ),
        (  # RFC 8414 section 3.1 and 5
            "https://example.com/issuer1",
            [
                "https://example.com/.well-known/oauth-authorization-server/issuer1",
                "https://example.com/issuer1/.well-known/openid-configuration",
            ],
        ),
        (
            "http://127.0.0.1:8080/a/b/",
            [
                "http://127.0.0.1:8080/.well-known/oauth-authorization-server/a/b",
                "http://127.0.0.1:8080/a/b/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_the_document_is_asked_for_where_the_rfcs_put_it(issuer, urls):
    requests = discovery_requests(issuer)
    assert [request.url for request in requests] == urls
    assert {(request.method, request.body) for request in requests} == {("GET", b"")}


@pytest.mark.parametrize(
    ("issuer", "error"),
    [
        ("http://example.com", InsecureUrl),
        ("https://example.com/?a=b", InvalidInput),
        ("https://example.com/?", InvalidInput),
        ("https://example.com/#f", InvalidInput),
        ("https://user:word@example.com", InvalidInput),
        ("example.com", InvalidInput),
        ("", InvalidInput),
    ],
)
def test_what_is_no_issuer_is_not_asked(issuer, error):
    with pytest.raises(error):
        discovery_requests(issuer)


def test_the_document_of_rfc_8414_section_3_2_becomes_a_provider(answer):
    found = read_discovery(ISSUER, answer(DOCUMENT))
    assert (found.key, found.name) == ("discovered", "server.example.com")
    assert found.endpoints.issuer == ISSUER
    assert found.endpoints.authorize == "https://server.example.com/authorize"
    assert found.endpoints.token == "https://server.example.com/token"
    assert found.endpoints.jwks == "https://server.example.com/jwks.json"
    assert (found.endpoints.revoke, found.endpoints.introspect, found.endpoints.device) == ("", "", "")
    assert found.grants == ["authorization_code"]
    assert (found.asking.token_auth, found.asking.pkce, found.asking.sends_iss) == (
        "client_secret_basic",
        "S256",
        False,
    )
    assert found.offline_scopes == ["offline_access"]
    assert found.asking.authorize_params == found.asking.device_params == {"prompt": "consent"}


def test_the_smallest_document_is_enough(answer):
    found = read_discovery(ISSUER, answer({"issuer": ISSUER, "token_endpoint": f"{ISSUER}/t"}))
    assert found.endpoints.authorize == ""
    assert (found.asking.token_auth, found.offline_scopes, found.asking.authorize_params) == (
        "client_secret_basic",
        [],
        {},
    )


@pytest.mark.parametrize(
    "issuer", [ISSUER + "/", "https://SERVER.example.com", ISSUER + ":443", "https://attacker.example"]
)
def test_a_document_of_another_issuer_is_refused(answer, issuer):
    with pytest.raises(BadAnswer) as refused:
        read_discovery(issuer, answer(DOCUMENT))
    assert refused.value.evidence["reason"] == "issuer_mismatch"
    assert (ISSUER in refused.value.fix) is (issuer == ISSUER + "/"), "what another says of itself is no fix"


@pytest.mark.parametrize("issuer", [None, 7, ["https://server.example.com"], ""])
def test_a_document_without_an_issuer_is_refused(answer, issuer):
    with pytest.raises(BadAnswer):
        read_discovery(ISSUER, answer({**DOCUMENT, "issuer": issuer}))


@pytest.mark.parametrize("name", sorted(ENDPOINTS.values()))
@pytest.mark.parametrize(
    "url",
    [
        "http://server.example.com/x",
        "http://127.0.0.1/x",
        "https://localhost/x",
        "https://user:word@server.example.com/",
        "ftp://server.example.com/",
        "javascript:alert(1)",
        "/relative",
        "",
        7,
        ["https://server.example.com/x"],
        "https://server.example.com/a b",
        "https://server.example.com/" + "a" * 2048,
    ],
)
def test_an_endpoint_that_may_not_be_asked_spoils_the_document(answer, name, url):
    with pytest.raises(BadAnswer) as refused:
        read_discovery(ISSUER, answer({**DOCUMENT, name: url}))
    assert refused.value.evidence["reason"] == "bad_endpoint"
    assert name in str(refused.value)


def test_an_issuer_on_loopback_may_name_endpoints_there(answer):
    local = "http://127.0.0.1:8080"
    found = read_discovery(local, answer({"issuer": local, "token_endpoint": f"{local}/token"}))
    assert found.endpoints.token == "http://127.0.0.1:8080/token"


INSIDE = [
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:8.8.8.8]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "localhost.",
    "LOCALHOST",
    "api.localhost",
    "localhost.localdomain",
    "ip6-loopback",
    "metadata.google.internal",
    "127%2e0.0.1",
]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "idp.corp.internal", "printer.local"]


@pytest.mark.parametrize("name", sorted(ENDPOINTS.values()))
@pytest.mark.parametrize("host", [*INSIDE, *PRIVATE])
def test_a_document_leads_nobody_inside(answer, name, host):
    with pytest.raises(BadAnswer) as refused:
        read_discovery(ISSUER, answer({**DOCUMENT, name: f"https://{host}/x"}))
    assert refused.value.evidence["reason"] == "bad_endpoint"
    assert name in str(refused.value)


@pytest.mark.parametrize("host", INSIDE)
def test_not_even_where_private_endpoints_are_allowed(answer, host):
    with pytest.raises(BadAnswer):
        read_discovery(ISSUER, answer({**DOCUMENT, "token_endpoint": f"https://{host}/x"}), allow_private=True)


@pytest.mark.parametrize("host", [*PRIVATE, "server.example.com"])
def test_private_endpoints_may_be_allowed(answer, host):
    found = read_discovery(ISSUER, answer({**DOCUMENT, "token_endpoint": f"https://{host}/x"}), allow_private=True)
    assert (found.endpoints.token, found.asking.public_only) == (f"https://{host}/x", False)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "localhost.example.com", "10.example.com", "a.b-1.co"]
)
def test_what_is_public_as_far_as_it_is_written_may_be_named(answer, host):
    found = read_discovery(ISSUER, answer({**DOCUMENT, "token_endpoint": f"https://{host}/x"}))
    assert found.endpoints.token == f"https://{host}/x"


def test_what_was_discovered_is_asked_at_public_addresses_only(answer, stamp):
    client = Client(read_discovery(ISSUER, answer(DOCUMENT)), "id", NoAuth())
    assert refresh_request(client, Secret("r"), stamp=stamp).public_only
    assert all(request.public_only for request in discovery_requests(ISSUER))
    assert not any(request.public_only for request in discovery_requests(ISSUER, allow_private=True))


@pytest.mark.parametrize("local", ["http://127.0.0.1:8080", "https://localhost", "http://[::1]:1"])
def test_a_discovered_server_on_loopback_is_asked_there(answer, stamp, local):
    found = read_discovery(local, answer({"issuer": local, "token_endpoint": f"{local}/t"}))
    assert not refresh_request(Client(found, "id", NoAuth()), Secret("r"), stamp=stamp).public_only
    assert not any(request.public_only for request in discovery_requests(local))


def test_a_document_without_a_token_endpoint_is_refused(answer):
    with pytest.raises(BadAnswer) as refused:
        read_discovery(ISSUER, answer({"issuer": ISSUER}))
    assert refused.value.evidence["reason"] == "no_token_endpoint"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["none", "client_secret_post"], "client_secret_post"),
        (["tls_client_auth", "private_key_jwt", "client_secret_jwt"], "private_key_jwt"),
        (["none"], "none"),
        ([], "client_secret_basic"),
        ("none", "client_secret_basic"),
        ([7, None, "none"], "none"),
    ],
)
def test_the_usual_way_to_prove_the_client_is_chosen(answer, offered, chosen):
    found = read_discovery(ISSUER, answer({**DOCUMENT, "token_endpoint_auth_methods_supported": offered}))
    assert found.asking.token_auth == chosen
    assert chosen in METHODS


def test_a_server_that_takes_only_certificates_is_refused_with_its_reason(answer):
    with pytest.raises(BadAnswer) as refused:
        read_discovery(ISSUER, answer({**DOCUMENT, "token_endpoint_auth_methods_supported": ["tls_client_auth"]}))
    assert refused.value.evidence["reason"] == "no_client_auth"


@pytest.mark.parametrize(
    ("methods", "pkce"),
    [(["S256"], "S256"), (["plain", "S256"], "S256"), (["plain"], "off"), ([], "S256"), (None, "S256")],
)
def test_pkce_is_off_only_where_the_document_says_so(answer, methods, pkce):
    found = read_discovery(ISSUER, answer({**DOCUMENT, "code_challenge_methods_supported": methods}))
    assert found.asking.pkce == pkce


@pytest.mark.parametrize(("says", "sends"), [(True, True), (False, False), ("true", False), (1, False), (None, False)])
def test_iss_is_required_where_the_document_promises_it(answer, says, sends):
    # RFC 9207 section 3
    found = read_discovery(ISSUER, answer({**DOCUMENT, "authorization_response_iss_parameter_supported": says}))
    assert found.asking.sends_iss is sends


@pytest.mark.parametrize(
    ("change", "grants"),
    [
        ({"grant_types_supported": ["client_credentials", "password"]}, ["client_credentials"]),
        (
            {"grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange", "authorization_code"]},
            ["authorization_code", "token_exchange"],
        ),
        ({"device_authorization_endpoint": f"{ISSUER}/device"}, ["authorization_code", "device_code"]),
        (
            {
                "device_authorization_endpoint": f"{ISSUER}/device",
                "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code"],
            },
            ["device_code"],
        ),
    ],
)
def test_grants_are_those_the_document_names(answer, change, grants):
    assert read_discovery(ISSUER, answer({**DOCUMENT, **change})).grants == grants


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("<html>", 404, BadAnswer),
        ("<html>", 200, BadAnswer),
        ("", 200, BadAnswer),
        ("", 503, ProviderUnavailable),
        ({}, 302, BadAnswer),
    ],
)
def test_an_issuer_that_publishes_nothing_is_a_typed_error(answer, body, status, kind):
    with pytest.raises(kind):
        read_discovery(ISSUER, answer(body, status))


@given(body=st.binary(max_size=200), status=st.integers(100, 599))
def test_no_document_raises_anything_but_our_errors(body, status):
    with pytest.raises(ValetkeyError):
        read_discovery(ISSUER, Response(status, {}, body))

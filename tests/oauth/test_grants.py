"""The questions without a redirect: client credentials, refresh, device, assertion, exchange."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest

from valetkey.errors import (
    AuthorizationPending,
    BadAnswer,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    InvalidInput,
    ProviderUnavailable,
)
from valetkey.jose.key import Key
from valetkey.oauth.assertion import assertion, jwt_bearer_request
from valetkey.oauth.authentication import NoAuth
from valetkey.oauth.device import device_request, device_token_request, read_device
from valetkey.oauth.exchange import ACCESS_TOKEN, JWT, TypedToken, exchange_request
from valetkey.oauth.reading import read_token
from valetkey.oauth.token import client_credentials_request, refresh_request
from valetkey.values import Secret

# ── client credentials ────────────────────────────────────────────────────────────────────────────────────────


def test_client_credentials_are_asked_as_in_rfc_6749_section_4_4_2(client, stamp, asked):
    got = asked(client_credentials_request(client(), stamp=stamp))
    assert got.form == {"grant_type": "client_credentials"}
    assert got.headers["authorization"] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"


def test_scope_audience_resource_and_extra_parameters_go_along(client, stamp, asked):
    request = client_credentials_request(
        client(asking={"scope_separator": ",", "client_credentials_params": {"organization": "o", "tier": "1"}}),
        stamp=stamp,
        scopes=["a", "b", "a"],
        audience="https://api.example.com",
        resource=["https://r.example.com"],
        extra={"tier": "2"},
    )
    assert asked(request).form == {
        "grant_type": "client_credentials",
        "scope": "a,b",
        "audience": "https://api.example.com",
        "resource": "https://r.example.com",
        "organization": "o",
        "tier": "2",
    }


def test_the_grant_may_have_another_name(client, stamp, asked):
    zoom = client(asking={"client_credentials_grant": "account_credentials"})
    form = asked(client_credentials_request(zoom, stamp=stamp, extra={"account_id": "7"})).form
    assert form == {"grant_type": "account_credentials", "account_id": "7"}


def test_without_scopes_the_ones_for_machines_are_asked(client, stamp, asked):
    entra = client(client_credentials_scopes=["https://graph.microsoft.com/.default"], scopes=["User.Read"])
    assert asked(client_credentials_request(entra, stamp=stamp)).form["scope"] == "https://graph.microsoft.com/.default"
    assert asked(client_credentials_request(entra, stamp=stamp, scopes=["x"])).form["scope"] == "x"


# ── refresh ───────────────────────────────────────────────────────────────────────────────────────────────────

REFRESH = Secret("tGzv3JOkF0XG5Qx2TlKWIA")


def test_a_refresh_is_asked_as_in_rfc_6749_section_6(client, stamp, asked):
    got = asked(refresh_request(client(), REFRESH, stamp=stamp, scopes=["a"]))
    assert got.url == "https://server.example.com/token"
    assert got.form == {"grant_type": "refresh_token", "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA"}


def test_a_refresh_names_scopes_only_where_the_provider_wants_it(client, stamp, asked):
    wants = client(asking={"scope_on_refresh": True, "refresh_params": {"kind": "x"}})
    form = asked(refresh_request(wants, REFRESH, stamp=stamp, scopes=["a", "b"], resource=["https://r/"])).form
    assert (form["scope"], form["kind"], form["resource"]) == ("a b", "x", "https://r/")


def test_a_refresh_may_have_an_endpoint_of_its_own(client, stamp):
    figma = client(endpoints={"refresh": "https://server.example.com/refresh"})
    assert refresh_request(figma, REFRESH, stamp=stamp).url == "https://server.example.com/refresh"


@pytest.mark.parametrize("name", ["grant_type", "refresh_token", "client_secret", "client_assertion", "client_id"])
def test_extra_may_not_replace_the_grant_or_the_proof(client, stamp, name):
    with pytest.raises(InvalidInput, match=name):
        refresh_request(client(), REFRESH, stamp=stamp, extra={name: "mine"})


# ── device ────────────────────────────────────────────────────────────────────────────────────────────────────

# RFC 8628 section 3.2
DEVICE = {
    "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://example.com/device",
    "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
    "expires_in": 1800,
    "interval": 5,
}


@pytest.fixture
def public(client):
    return client(NoAuth(), client_id="1406020730")


def test_a_device_code_is_asked_as_in_rfc_8628_section_3_1(public, stamp, asked):
    got = asked(device_request(public, stamp=stamp, scopes=["example_scope"]))
    assert got.url == "https://server.example.com/device_authorization"
    assert got.form == {"client_id": "1406020730", "scope": "example_scope"}


def test_a_device_asks_for_what_a_person_is_asked_elsewhere(client, stamp, asked):
    auth0 = client(scopes=["openid"], offline_scopes=["offline_access"], asking={"device_params": {"audience": "a"}})
    form = asked(device_request(auth0, stamp=stamp)).form
    assert (form["scope"], form["audience"]) == ("openid offline_access", "a")


def test_the_question_for_the_token_is_that_of_rfc_8628_section_3_4(public, stamp):
    body = device_token_request(public, Secret(DEVICE["device_code"]), stamp=stamp).body
    assert sorted(body.split(b"&")) == [
        b"client_id=1406020730",
        b"device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code",
    ]


def test_a_confidential_client_proves_itself_and_names_itself_too(client, stamp, asked):
    got = asked(device_request(client(), stamp=stamp, extra={"nonce": "n"}))
    assert got.headers["authorization"].startswith("Basic ")
    assert got.form == {"client_id": "s6BhdRkqt3", "nonce": "n"}


def test_the_answer_of_rfc_8628_section_3_2_is_read(public, answer):
    got = read_device(public, answer(DEVICE))
    assert got.device_code == Secret("GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS")
    assert (got.user_code, got.verification_uri) == ("WDJB-MJHT", "https://example.com/device")
    assert got.verification_uri_complete == "https://example.com/device?user_code=WDJB-MJHT"
    assert (got.expires_in, got.interval) == (1800.0, 5.0)


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(None, 5.0), (0, 5.0), (-1, 5.0), ("7", 7.0), (0.1, 1.0), (301, 300.0), (True, 5.0), ("soon", 5.0)],
)
def test_the_interval_is_five_seconds_unless_a_sensible_one_is_given(public, answer, interval, seconds):
    assert read_device(public, answer({**DEVICE, "interval": interval})).interval == seconds


@pytest.mark.parametrize(("expires_in", "seconds"), [(None, 600.0), (-5, 600.0), (900, 900.0), (10**9, 86_400.0)])
def test_the_lifetime_is_bounded(public, answer, expires_in, seconds):
    assert read_device(public, answer({**DEVICE, "expires_in": expires_in})).expires_in == seconds


def test_google_s_older_member_names_are_read(public, answer):
    older = {**DEVICE, "verification_uri": None, "verification_url": "https://www.google.com/device"}
    assert read_device(public, answer(older)).verification_uri == "https://www.google.com/device"


def test_an_unsafe_complete_uri_is_left_out(public, answer):
    odd = {**DEVICE, "verification_uri_complete": "javascript:alert(1)"}
    assert read_device(public, answer(odd)).verification_uri_complete == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device_code": None}, "no_device_code"),
        ({"device_code": "a b"}, "no_device_code"),
        ({"device_code": 7}, "no_device_code"),
        ({"user_code": None}, "no_user_code"),
        ({"user_code": ""}, "no_user_code"),
        ({"user_code": 7}, "no_user_code"),
        ({"user_code": "AB\nCD"}, "no_user_code"),
        ({"user_code": "A" * 65}, "no_user_code"),
        ({"verification_uri": None}, "no_verification_uri"),
        ({"verification_uri": "http://example.com/device"}, "no_verification_uri"),
        ({"verification_uri": "javascript:alert(1)"}, "no_verification_uri"),
        ({"verification_uri": ["https://example.com"]}, "no_verification_uri"),
    ],
)
def test_an_answer_that_cannot_be_shown_to_a_person_is_refused(public, answer, change, reason):
    with pytest.raises(BadAnswer) as refused:
        read_device(public, answer({**DEVICE, **change}))
    assert refused.value.evidence["reason"] == reason


def test_a_refused_device_request_is_a_typed_error(public, answer):
    with pytest.raises(ClientRefused):
        read_device(public, answer({"error": "invalid_client"}, 401))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("authorization_pending", AuthorizationPending),
        ("slow_down", AuthorizationPending),
        ("expired_token", GrantRefused),
        ("access_denied", ConsentDenied),
    ],
)
def test_waiting_is_told_from_refusing(public, answer, code, kind):
    # RFC 8628 section 3.5
    with pytest.raises(kind) as refused:
        read_token(public, answer({"error": code}, 400))
    assert refused.value.code == code


def test_neither_device_code_nor_user_code_is_shown(public, answer, canary):
    codes = {"device_code": canary.make(), "user_code": canary.make()}
    page = f"https://example.com/device?user_code={codes['user_code']}"
    got = read_device(public, answer({**DEVICE, **codes, "verification_uri_complete": page}))
    canary.assert_absent(repr(got), str(got))


# ── assertions ────────────────────────────────────────────────────────────────────────────────────────────────

KEY = Key.generate("ES256", kid="service-account")
ROBOT = "robot@project.iam.example.com"
TOKEN_URL = "https://oauth2.example.com/token"


def claims_of(signed):
    options = {"verify_exp": False, "verify_iat": False}
    pem = KEY.public().to_pem()
    return jwt.decode(signed.reveal(), pem, algorithms=["ES256"], audience=TOKEN_URL, options=options)


def make(stamp, **changes):
    given = {"issuer": ROBOT, "subject": ROBOT, "audience": TOKEN_URL, "stamp": stamp, **changes}
    return assertion(KEY, **given)


def test_an_assertion_holds_the_claims_of_rfc_7523_section_3(stamp):
    now = int(stamp.now.timestamp())
    expected = {"iss": ROBOT, "sub": ROBOT, "aud": TOKEN_URL, "iat": now, "exp": now + 180, "jti": "one-of-a-kind"}
    assert claims_of(make(stamp)) == expected


def test_google_s_scope_stands_in_the_assertion(stamp):
    claims = claims_of(make(stamp, scopes=["a", "b"], lifetime=timedelta(hours=1), claims={"target_audience": "x"}))
    assert (claims["scope"], claims["target_audience"]) == ("a b", "x")
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize("name", ["issuer", "subject", "audience"])
def test_an_assertion_without_a_needed_claim_is_refused(stamp, name):
    with pytest.raises(InvalidInput, match=name):
        make(stamp, **{name: ""})


@pytest.mark.parametrize("lifetime", [timedelta(), timedelta(seconds=-1), timedelta(hours=1, seconds=1)])
def test_an_assertion_lives_at_most_an_hour(stamp, lifetime):
    with pytest.raises(InvalidInput):
        make(stamp, lifetime=lifetime)


def test_an_assertion_is_redeemed_without_naming_a_client_that_proves_nothing(client, stamp, asked):
    got = asked(jwt_bearer_request(client(NoAuth()), Secret("e30.e30.x"), stamp=stamp))
    assert got.form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "e30.e30.x"}
    assert "authorization" not in got.headers


def test_an_assertion_is_redeemed_by_a_client_that_proves_itself(client, stamp, asked):
    request = jwt_bearer_request(
        client(), Secret("e30.e30.x"), stamp=stamp, scopes=["a"], resource=["https://r/"], extra={"b": "c"}
    )
    got = asked(request)
    assert got.headers["authorization"].startswith("Basic ")
    assert (got.form["scope"], got.form["resource"], got.form["b"]) == ("a", "https://r/", "c")


# ── exchange ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_exchange_is_asked_as_in_rfc_8693_section_2_3(client, stamp):
    subject = TypedToken(Secret("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"), ACCESS_TOKEN)
    body = exchange_request(client(), subject, stamp=stamp, resource=["https://backend.example.com/api"]).body
    assert sorted(body.split(b"&")) == [
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
        b"resource=https%3A%2F%2Fbackend.example.com%2Fapi",
        b"subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC",
        b"subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token",
    ]


def test_an_actor_comes_with_its_type(client, stamp, asked):
    request = exchange_request(
        client(),
        TypedToken(Secret("s")),
        stamp=stamp,
        actor=TypedToken(Secret("a"), JWT),
        requested_type=JWT,
        audience="urn:example:cooperation-context",
        scopes=["one", "two"],
    )
    form = asked(request).form
    assert (form["actor_token"], form["actor_token_type"]) == ("a", "urn:ietf:params:oauth:token-type:jwt")
    assert form["requested_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
    assert (form["audience"], form["scope"]) == ("urn:example:cooperation-context", "one two")


def test_the_answer_of_rfc_8693_section_2_3_is_read(client, answer):
    body = {
        "access_token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IjllciJ9.e30.x",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 60,
    }
    got = read_token(client(), answer(body))
    assert (got.issued_type, got.kind, got.expires_in) == (ACCESS_TOKEN, "Bearer", 60.0)


def test_a_typed_token_does_not_show_itself(canary):
    canary.assert_absent(repr(TypedToken(Secret(canary.make()))))


def test_a_provider_in_trouble_is_weather_for_every_question(client, answer):
    for read in (read_token, read_device):
        with pytest.raises(ProviderUnavailable):
            read(client(), answer("", 503))

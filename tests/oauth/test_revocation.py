"""Revocation (RFC 7009) and introspection (RFC 7662): ask and read."""

from __future__ import annotations

import pytest

from valetkey.errors import BadAnswer, ClientRefused, InvalidInput, ProviderUnavailable, RequestRefused
from valetkey.oauth.introspection import Introspection, introspection_request, read_introspection
from valetkey.oauth.revocation import read_revocation, revocation_request, revokes
from valetkey.values import Secret

TOKEN = Secret("45ghiukldjahdnhzdauz")


def test_a_token_is_revoked_as_in_rfc_7009_section_2_1(client, stamp):
    request = revocation_request(client(), TOKEN, stamp=stamp, hint="refresh_token")
    assert (request.method, request.url) == ("POST", "https://server.example.com/revoke")
    assert request.headers["authorization"] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
    assert request.body == b"token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token"


def test_the_hint_is_optional(client, stamp):
    assert revocation_request(client(), TOKEN, stamp=stamp).body == b"token=45ghiukldjahdnhzdauz"


def test_a_provider_may_take_the_token_alone_under_another_name(client, stamp, asked):
    other = client(asking={"revoke_auth": "none", "revoke_param": "access_token"})
    got = asked(revocation_request(other, TOKEN, stamp=stamp))
    assert got.form == {"access_token": "45ghiukldjahdnhzdauz"}
    assert "authorization" not in got.headers


def test_a_provider_may_take_the_token_as_the_credential(client, stamp):
    request = revocation_request(client(asking={"revoke_auth": "bearer"}), TOKEN, stamp=stamp, hint="access_token")
    assert request.headers["authorization"] == "Bearer 45ghiukldjahdnhzdauz"
    assert request.body == b""


def test_a_token_that_cannot_stand_in_a_header_is_not_put_there(client, stamp):
    with pytest.raises(InvalidInput) as refused:
        revocation_request(client(asking={"revoke_auth": "bearer"}), Secret("two words"), stamp=stamp)
    assert "two words" not in refused.value.explain()


def test_a_provider_without_revocation_is_told_from_one_that_takes_only_one_kind(client, stamp):
    without = client(endpoints={"revoke": ""})
    with pytest.raises(InvalidInput, match="revocation endpoint"):
        revocation_request(without, TOKEN, stamp=stamp)
    assert not revokes(without.provider, "access_token")
    slack = client(asking={"revokes": "access"}).provider
    assert revokes(slack, "access_token")
    assert not revokes(slack, "refresh_token")
    assert revokes(client().provider, "refresh_token")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 200),
        ("", 204),
        ("<html>ok</html>", 200),
        ("not json", 200),
        ({}, 200),
        ({"ok": True, "revoked": True}, 200),
        ({"error": "invalid_token"}, 400),  # Google, for a token that was revoked before
        ({"error": "invalid_grant"}, 400),
        ({"ok": False, "error": "token_revoked"}, 200),  # Slack
    ],
)
def test_a_token_that_is_gone_is_gone(client, answer, body, status):
    slack = client(answer={"ok": "ok", "errors": {"token_revoked": "invalid_grant"}})
    assert read_revocation(slack, answer(body, status)) is None


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": "unsupported_token_type"}, 400, RequestRefused),
        ({"error": "invalid_client"}, 401, ClientRefused),
        ({"ok": False, "error": "not_allowed"}, 200, RequestRefused),
        ({"ok": False}, 200, BadAnswer),
        ("", 503, ProviderUnavailable),
        ("", 404, BadAnswer),
        ("<html>", 400, BadAnswer),
        ("", 302, BadAnswer),
        ("{", 200, BadAnswer),
    ],
)
def test_a_token_that_may_still_live_is_an_error(client, answer, body, status, kind):
    with pytest.raises(kind) as refused:
        read_revocation(client(answer={"ok": "ok"}), answer(body, status))
    assert refused.value.fix


# ── introspection ─────────────────────────────────────────────────────────────────────────────────────────────

# RFC 7662 section 2.2
ACTIVE = {
    "active": True,
    "client_id": "l238j323ds-23ij4",
    "username": "jdoe",
    "scope": "read write dolphin",
    "sub": "Z5O3upPC88QrAjx00dis",
    "aud": "https://protected.example.net/resource",
    "iss": "https://server.example.com/",
    "exp": 1419356238,
    "iat": 1419350238,
    "extension_field": "twenty-seven",
}


def test_a_token_is_asked_about_as_in_rfc_7662_section_2_1(client, stamp):
    request = introspection_request(client(), Secret("2YotnFZFEjr1zCsicMWpAA"), stamp=stamp, hint="access_token")
    assert request.url == "https://server.example.com/introspect"
    assert request.body == b"token=2YotnFZFEjr1zCsicMWpAA&token_type_hint=access_token"
    assert request.headers["authorization"].startswith("Basic ")


def test_a_provider_without_introspection_says_so(client, stamp):
    with pytest.raises(InvalidInput, match="introspection endpoint"):
        introspection_request(client(endpoints={"introspect": ""}), TOKEN, stamp=stamp)


def test_the_active_answer_of_rfc_7662_section_2_2_is_read(client, answer):
    got = read_introspection(client(), answer(ACTIVE))
    assert got == Introspection(
        active=True,
        scopes=("read", "write", "dolphin"),
        expires_at=1419356238.0,
        client_id="l238j323ds-23ij4",
        subject="Z5O3upPC88QrAjx00dis",
        members=ACTIVE,
    )
    assert "jdoe" not in repr(got)


def test_an_inactive_answer_says_nothing_else(client, answer):
    assert read_introspection(client(), answer({**ACTIVE, "active": False})) == Introspection(active=False)


@pytest.mark.parametrize("active", ["true", 1, None, "yes", [], {}])
def test_only_a_plain_true_is_active(client, answer, active):
    with pytest.raises(BadAnswer):
        read_introspection(client(), answer({**ACTIVE, "active": active}))


def test_odd_members_beside_active_do_not_hurt(client, answer):
    got = read_introspection(client(), answer({"active": True, "scope": 7, "exp": "never", "sub": ["x"]}))
    assert (got.active, got.scopes, got.expires_at, got.subject) == (True, None, None, "")


def test_a_refused_question_is_a_typed_error(client, answer):
    with pytest.raises(ClientRefused):
        read_introspection(client(), answer({"error": "invalid_client"}, 401))

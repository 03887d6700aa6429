"""How a provider's "no" becomes an error: RFC 6749 section 5.2, RFC 8628 section 3.5, RFC 9110 section 10.2.3."""

from __future__ import annotations

import html
from urllib.parse import quote, quote_plus

import pytest

from valetkey.errors import (
    AuthorizationPending,
    BadAnswer,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    ProviderUnavailable,
    RequestRefused,
)
from valetkey.oauth.authentication import Basic, Post
from valetkey.oauth.plain import said
from valetkey.oauth.reading import read_token
from valetkey.oauth.refusal import TABLE
from valetkey.values import Response, Secret


@pytest.fixture
def refusal(client, answer):
    """Return the error that an answer raises."""

    def go(body, status=400, headers=None, **how):
        with pytest.raises(Exception) as raised:
            read_token(client(answer=how), answer(body, status, **(headers or {})))
        return raised.value

    return go


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_grant", GrantRefused),
        ("expired_token", GrantRefused),
        ("unauthorized_client", RequestRefused),
        ("interaction_required", GrantRefused),
        ("invalid_client", ClientRefused),
        ("access_denied", ConsentDenied),
        ("authorization_pending", AuthorizationPending),
        ("slow_down", AuthorizationPending),
        ("invalid_request", RequestRefused),
        ("invalid_scope", RequestRefused),
        ("invalid_target", RequestRefused),
        ("unsupported_grant_type", RequestRefused),
        ("redirect_uri_mismatch", RequestRefused),
        ("a_code_of_their_own", RequestRefused),
        ("AADSTS28000", RequestRefused),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_the_code_decides_whatever_the_status(refusal, code, kind, status):
    error = refusal({"error": code, "error_description": "Their words."}, status)
    assert type(error) is kind
    assert (error.code, error.status, error.description) == (code, status, "Their words.")
    assert str(error) == f"Example says {code}: Their words."
    assert error.cause
    assert error.fix


@pytest.mark.parametrize("code", ["not_found", "invalid_input", "wrong_key", "needs_reconnect", "provider_timeout"])
def test_a_code_of_a_provider_is_not_taken_for_one_of_ours(refusal, code):
    error = refusal({"error": code}, 404)
    assert type(error) is RequestRefused
    assert str(error) == f"Example says {code}"
    assert (error.code, error.evidence["provider_code"]) == ("request_refused", code)


@pytest.mark.parametrize("code", ["temporarily_unavailable", "server_error"])
def test_what_passes_by_itself_is_weather_even_as_a_code(refusal, code):
    error = refusal({"error": code}, headers={"retry-after": "7"})
    assert type(error) is ProviderUnavailable
    assert (error.code, error.sent, error.retry_after) == ("provider_unavailable", True, 7.0)
    assert error.evidence["provider_code"] == code


@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_line_of_the_table_ends_in_a_cause_and_a_fix(refusal, code):
    error = refusal({"error": code})
    assert error.cause
    assert error.fix


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": "invalid_client"}, ClientRefused),
        ({}, ClientRefused),
        ({"error": "their_own"}, ClientRefused),
        ("<html>401</html>", ClientRefused),
        ("", ClientRefused),
        ({"error": "invalid_grant"}, GrantRefused),
        ({"error": "invalid_request"}, RequestRefused),
        ({"error": "unauthorized_client"}, ClientRefused),  # RFC 6749 section 5.2 has 400 for it
    ],
)
def test_401_means_the_client_unless_a_known_code_says_otherwise(refusal, body, kind):
    error = refusal(body, 401)
    assert type(error) is kind
    assert error.status == 401


def test_a_wrong_secret_as_keycloak_says_it_is_one(refusal):
    # services/…/ClientIdAndSecretAuthenticator.java of keycloak/keycloak answers so
    said = {"error": "unauthorized_client", "error_description": "Invalid client or Invalid client credentials"}
    error = refusal(said, 401)
    assert (type(error), error.code) == (ClientRefused, "invalid_client")
    assert error.evidence["provider_code"] == "unauthorized_client"
    assert "inferred" not in error.evidence  # it said so itself
    assert type(refusal(said, 400)) is RequestRefused


def test_the_refusal_of_rfc_6749_section_5_2_is_a_refused_request(refusal):
    assert refusal({"error": "invalid_request"}).code == "invalid_request"


# ── errors in HTTP 200, in other members, in other words ──────────────────────────────────────────────────────


def test_slack_says_no_with_ok_false_in_200(refusal):
    how = {"ok": "ok", "errors": {"invalid_refresh_token": "invalid_grant"}}
    error = refusal({"ok": False, "error": "invalid_refresh_token"}, 200, **how)
    assert type(error) is GrantRefused
    assert error.code == "invalid_grant"
    assert error.evidence["provider_code"] == "invalid_refresh_token"


def test_ok_false_says_no_even_beside_a_token(refusal):
    assert type(refusal({"ok": False, "access_token": "a", "error": "nope"}, 200, ok="ok")) is RequestRefused


def test_github_says_no_as_a_form_in_200(refusal):
    body = "error=bad_verification_code&error_description=The+code+passed+is+incorrect+or+expired.&error_uri=https%3A%2F%2Fdocs"
    error = refusal(body, 200, errors={"bad_verification_code": "invalid_grant"})
    assert type(error) is GrantRefused
    assert error.description == "The code passed is incorrect or expired."


def test_a_whole_sentence_may_be_translated(refusal):
    how = {"error": "error.message", "errors": {"Old refresh token used.": "invalid_grant"}}
    assert type(refusal({"error": {"message": "Old refresh token used."}}, 400, **how)) is GrantRefused


def test_another_member_may_hold_the_code(refusal):
    how = {"error": "status|error", "error_description": "message", "errors": {"BAD_REFRESH_TOKEN": "invalid_grant"}}
    error = refusal({"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown"}, 400, **how)
    assert (type(error), error.description) == (GrantRefused, "missing or unknown")


def test_a_number_may_be_a_code(refusal):
    assert refusal({"error": 30203}).code == "30203"


@pytest.mark.parametrize(
    "error",
    [{"code": 400}, ["x"], True, 10**12, "two words", "<b>", "x" * 81, "line\nbreak", "AKIA+123456789ABCDEFGHIJ", None],
)
@pytest.mark.parametrize("status", [400, 404])
def test_what_is_no_code_is_not_repeated(refusal, error, status):
    refused = refusal({"error": error}, status)
    assert type(refused) is BadAnswer
    assert refused.evidence["reason"] == "no_error_code"
    assert str(error) not in refused.explain() or error is None


# ── statuses that decide by themselves ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", ["", "<html>", {"error": "invalid_grant"}, {"access_token": "a"}])
def test_weather_does_not_judge_the_grant(refusal, status, body):
    error = refusal(body, status)
    assert type(error) is ProviderUnavailable
    assert (error.status, error.sent, error.retry_after) == (status, True, 0.0)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_not_shown(refusal, status):
    error = refusal("", status, {"location": "https://login.example/?token=abc"})
    assert type(error) is BadAnswer
    assert error.evidence["reason"] == "redirected"
    assert "abc" not in error.explain() + repr(error.to_dict())


@pytest.mark.parametrize(("status", "body"), [(404, "<html>"), (405, ""), (100, {}), (0, {}), (404, {"message": "no"})])
def test_another_status_without_a_code_is_a_bad_answer(refusal, status, body):
    error = refusal(body, status)
    assert type(error) is BadAnswer
    assert error.status == status


# RFC 9110 sections 5.6.7 and 10.2.3
DATE = "Fri, 31 Dec 1999 23:57:59 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "86401"}, 86_400.0),
        ({"retry-after": "9" * 400}, 86_400.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": DATE}, 120.0),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT", "date": DATE}, 121.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:57:58 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": DATE}, 86_400.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Feb 1999 23:59:59 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 31 Dec 1999 25:59:59 GMT", "date": DATE}, 0.0),
        ({"retry-after": "soon", "date": DATE}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1.5"}, 0.0),
        ({"retry-after": "١٢٠"}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(refusal, headers, seconds):
    assert refusal("", 503, headers).retry_after == seconds


def test_the_wait_is_told_to_the_person(refusal):
    assert "wait 120 s" in str(refusal("", 429, {"retry-after": "120"}))


# ── texts of strangers ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Token has been expired or revoked.", "Token has been expired or revoked."),
        ("two\r\nlines\tand  blanks ", "two lines and blanks"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("turned \u202e around", "turned around"),
        ("half \ud800 a pair", "half a pair"),
        ("é and 日本 stay", "é and 日本 stay"),
        ("unknown token ya29.a0AfH6SMBx0123456789abcdefghij", "unknown token …"),
        ("secret hunter2.short.Parts.of-a.Secret9 is wrong", "secret … is wrong"),
        ("secret abcDEF8Q~xyz.1234567.abcdefg9.QQ is wrong", "secret … is wrong"),
        ("secret correcthorsebatterystaplecorrect is wrong", "secret … is wrong"),
        ("see login.example.com.", "see login.example.com."),
        ("Trace ID: 0a1b2c3d-4e5f-6789-abcd-ef0123456789", "Trace ID: 0a1b2c3d-4e5f-6789-abcd-ef0123456789"),
        ("unsupported_grant_type_for_this_client", "unsupported_grant_type_for_this_client"),
        ("mixedCaseWithoutAnyDigitsAtAll", "…"),
        ("", ""),
        (None, ""),
        (7, ""),
        ({"a": "b"}, ""),
        ("x y " * 200, ("x y " * 75)[:299] + "…"),
    ],
)
def test_a_stranger_s_text_is_one_line_without_anything_like_a_secret(text, shown):
    assert said(text) == shown


SECRETS = [
    "Tr0ub4dor&3-xkcd",
    "correct horse battery staple",
    "correcthorsebatterystaplecorrect",
    "hunter2.short.Parts.of-a.Secret9",
    "abcDEF8Q~xyz.1234567.abcdefg9.QQ",
    "short/päss",
    "abcd",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("written", [str, str.upper, html.escape, quote, quote_plus, lambda text: quote(text, safe="")])
def test_a_secret_that_was_sent_is_not_repeated_however_it_is_written(client, answer, secret, written):
    body = {"error": "invalid_client", "error_description": f"the secret {written(secret)} of this app is wrong"}
    with pytest.raises(ClientRefused) as refused:
        read_token(client(), answer(body, 401), sent=[Secret("unrelated"), Secret(secret)])
    assert refused.value.description == "the secret … of this app is wrong"


@pytest.mark.parametrize("secret", SECRETS)
def test_the_client_s_own_secret_needs_no_telling(client, answer, secret):
    body = {"error": "invalid_client", "error_description": f"the secret {secret} of this app is wrong"}
    for auth in (Basic(Secret(secret)), Post(Secret(secret))):
        with pytest.raises(ClientRefused) as refused:
            read_token(client(auth), answer(body, 401))
        assert refused.value.description == "the secret … of this app is wrong"


def test_a_secret_of_a_few_characters_does_not_tear_up_every_sentence(client, answer):
    with pytest.raises(RequestRefused) as refused:
        read_token(client(Basic(Secret("s"))), answer({"error": "their_scope"}, 400), sent=[Secret(""), Secret("cop")])
    assert refused.value.code == "their_scope"


@pytest.mark.parametrize(
    "code",
    [
        "hunter2.short.Parts.of-a.Secret9",
        "correcthorsebatterystaplecorrect",
        "AKIA0123456789ABCDEFGHIJ",
        "a_code_that_is_longer_than_any_known_one_",
        "token_of_ours",
        "bad_TOKEN_OF_OURS",
    ],
)
@pytest.mark.parametrize("member", ["error", "status"])
def test_a_code_that_may_hide_a_secret_becomes_a_fixed_word(client, answer, code, member):
    asking = client(answer={"error": member})
    with pytest.raises(RequestRefused) as refused:
        read_token(asking, answer({member: code}, 400), sent=[Secret("token_of_ours")])
    error = refused.value
    assert (error.code, dict(error.evidence)) == ("code_withheld", {"status": 400})
    assert str(error) == "Example says no, under a code that is not repeated here"
    with pytest.raises(ClientRefused) as refused:
        read_token(asking, answer({member: code}, 401), sent=[Secret("token_of_ours")])
    assert code not in repr(refused.value.to_dict())


def test_a_code_of_the_rfcs_is_repeated_even_where_a_secret_is_part_of_it(client, answer):
    with pytest.raises(GrantRefused) as refused:
        read_token(client(), answer({"error": "invalid_grant"}, 400), sent=[Secret("grant")])
    assert refused.value.code == "invalid_grant"


def test_a_provider_that_repeats_the_refresh_token_does_not_make_us_repeat_it(refusal, canary):
    text = f"The refresh token {canary.make()} was used before; send {canary.make()}"
    error = refusal({"error": "invalid_grant", "error_description": text})
    canary.assert_absent(str(error), repr(error), error.explain(), repr(error.to_dict()))
    assert "was used before" in error.description


def test_neither_body_nor_content_type_of_a_bad_answer_is_repeated(client, canary):
    body = f"<html>{canary.make()}".encode()
    headers = {"content-type": f"text/{canary.make()}; {canary.make()}"}
    with pytest.raises(BadAnswer) as refused:
        read_token(client(), Response(200, headers, body))
    error = refused.value
    canary.assert_absent(str(error), repr(error), error.explain(), repr(error.to_dict()))

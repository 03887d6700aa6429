"""What is masked in a text, what is left alone, and that no text is slow to mask."""

from __future__ import annotations

import base64
import json
import secrets

import pytest

from valetkey.jose import Key, sign
from valetkey.redaction import redacted
from valetkey.redaction.masks import LIMIT, telling
from valetkey.testing import Sandbox

HIDDEN = "hidden"
BASIC = base64.b64encode(f"client:{HIDDEN}".encode()).decode()

BY_NAME = [
    "Authorization: Bearer hidden",
    f"Authorization: Basic {BASIC}",
    "{'Authorization': 'Bearer hidden', 'Accept': '*/*'}",
    "(b'authorization', b'Bearer hidden')",
    '{"X-Vault-Token": "hidden"}',
    "X-Api-Key: hidden",
    'Set-Cookie: session="hidden"; Path=/; other=hidden',
    "send: b'POST /token HTTP/1.1\\r\\nCookie: a=hidden\\r\\n'",
    "grant_type=refresh_token&refresh_token=hidden&client_id=me",
    "client_secret=hidden",
    "client_secret%3Dhidden",
    '{"access_token": "hidden", "expires_in": 3600}',
    "{'password': 'hidden'}",
    "password=hidden host=localhost",
    "assertion=hidden",
    "client_assertion=hidden&client_assertion_type=urn",
    "code_verifier=hidden",
    '{"SecretString":"{\\"hidden\\": 1}"}',
    repr(json.dumps({"SecretString": json.dumps({"any": "hidden", "other": 1}), "Name": "google"}).encode()),
    json.dumps({"SecretString": "ends with a backslash\\", "token": "hidden"}),
    '{"role_id": "hidden", "secret_id": "hidden"}',
    "Secret: 'it\\'s hidden'",
    "GET /callback?code=hidden4711abc&state=hidden4711 HTTP/1.1",
    "https://me:hidden@api.example/v1",
    "postgresql://valetkey:hidden@db.example/vault",
    "https://api.example/v1?access=hidden",
    "https://valetkey.example/enter#hidden",
    "sent Bearer hidden47",
]


@pytest.mark.parametrize("text", BY_NAME)
def test_a_value_behind_a_telling_name_or_place_is_masked(text):
    assert HIDDEN in text or BASIC in text
    shown = redacted(text)
    assert HIDDEN not in shown
    assert BASIC not in shown


def a_jwt():
    return sign(Key.generate("ES256"), now=0, jti="1", issuer="https://a.example", subject="s", audience="b")


TAIL = "A1b2C3d4E5f6G7h8"

SHAPES = {
    "a JWT": a_jwt,
    "an unsigned JWT": lambda: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
    "Standard Webhooks": lambda: f"whsec_{TAIL}",
    "Slack bot": lambda: f"xoxb-{TAIL}",
    "Slack rotated": lambda: f"xoxe.xoxp-1-{TAIL}",
    "GitHub OAuth": lambda: f"gho_{TAIL}",
    "GitHub personal": lambda: f"ghp_{TAIL}",
    "GitHub refresh": lambda: f"ghr_{TAIL}",
    "Google access": lambda: f"ya29.{TAIL}",
    "Google refresh": lambda: f"1//0g{TAIL}",
    "Google client secret": lambda: f"GOCSPX-{TAIL}",
    "HashiCorp": lambda: f"hvs.{TAIL}",
    "AWS access key": lambda: "AKIAIOSFODNN7EXAMPLE",
    "Salesforce": lambda: f"00D5g000004abcD!{TAIL}",
    "our key file": lambda: f"valetkey-key-1 {secrets.token_urlsafe(32)}",
    "a private key": lambda: "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nxyz\n-----END PRIVATE KEY-----",
    "random, URL-safe": lambda: f"q9{secrets.token_urlsafe(32)}Zz",
    "random, base64": lambda: "q9Zz" + base64.b64encode(bytes(range(200, 248))).decode(),
    "random, long hex": lambda: "a1" + secrets.token_hex(32),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_known_shape_is_masked_wherever_it_stands(shape):
    secret = SHAPES[shape]()
    for text in (secret, f"got {secret} from them", f"<{secret}>", f"['{secret}', 1]", f"a,{secret};b"):
        assert secret not in redacted(text)
        assert secret[-12:] not in redacted(text), "no piece of it either"


@pytest.mark.network
def test_what_the_sandbox_gives_is_masked_by_its_shape_alone():
    with Sandbox() as sandbox:
        realm = sandbox._desk.realm
        for prefix in ("sbx_at_", "sbx_rt_", "sbx_code_", "sbx_dev_"):
            token = realm.draw(prefix)
            assert redacted(f"it gave {token} to us") == "it gave … to us"


PROSE = [
    'urllib3.connectionpool DEBUG https://api.example.com:443 "POST /token HTTP/1.1" 200 1234',
    "refreshed sb/alice in 0.25 s, attempt 1a2b3c4d5e6f708192",
    "state=active, due in 300 s; code=invalid_grant status=400 exit code: 1",
    '{"code": "needs_reconnect", "message": "connection sb/alice must be connected again"}',
    "Basic authentication is required by this provider; a bearer token is not enough",
    '  File "/usr/lib/python3.11/site-packages/valetkey/vault/renew.py", line 33, in obtain',
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "request 550e8400-e29b-41d4-a716-446655440000",
    "token_type=Bearer expires_in=3600 token_endpoint: https://acme.example/token",
    "the client secret ends on 2026-12-31",
    "record connection/sb/alice does not open [vault_damaged]",
    "test_a_refresh_loses_only_an_answer_that_was_not_saved",
    "None",
    "",
]


@pytest.mark.parametrize("text", PROSE)
def test_what_people_need_to_read_stays(text):
    assert redacted(text) == text


def test_masking_twice_changes_nothing_more():
    for text in (*BY_NAME, *(make() for make in SHAPES.values())):
        assert redacted(redacted(text)) == redacted(text)


HOSTILE = ["a", "_", "-", "eyJ", "x-", "token ", "secret", 'token="\\"', "a://", "http://@", "Bearer ", "x-key", "%3D",
           "-----BEGIN PRIVATE KEY-----", "aB", "token=" , "(", "\\", "'", "key:\t", "eyJaaaaa."]  # fmt: skip


@pytest.mark.parametrize("seed", HOSTILE)
def test_a_hostile_text_of_full_length_ends_well(seed):
    # A pattern that reads it in the square of its length takes minutes here, and the run's time-out ends it.
    text = (seed * LIMIT)[:LIMIT]
    assert len(redacted(text)) <= 2 * LIMIT


def test_a_text_without_end_is_cut():
    shown = redacted("x " * LIMIT)
    assert len(shown) < LIMIT + 40
    assert shown.endswith(f"… ({LIMIT} more characters)")


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [("client_secret", True), ("Authorization", True), ("X-Vault-Token", True), ("refreshToken", True), ("set-cookie", True),
     ("api_key", True), ("token_type", False), ("user", False), ("expires_in", False), ("secret_ref", False), ("code", False)],
)  # fmt: skip
def test_names_tell(name, is_secret):
    assert telling(name) is is_secret

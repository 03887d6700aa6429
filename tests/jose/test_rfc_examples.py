"""The examples that the RFCs print, letter for letter."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Key, Policy, sign_bytes, verify, verify_bytes

RFC7515_CLAIMS = b'{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
RFC7515_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
A1_KEY = {
    "kty": "oct",
    "alg": "HS256",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
A1 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC7515_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{RFC7515_PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
ED_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
ED = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
THUMBPRINT_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1"
    "n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
}
VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof" / "json_web_signature_test.json"


@pytest.mark.parametrize(
    ("jwk", "token", "payload"),
    [
        (A1_KEY, A1, RFC7515_CLAIMS),
        (A3_KEY, A3, RFC7515_CLAIMS),
        (ED_KEY, ED, b"Example of Ed25519 signing"),
    ],
    ids=["RFC 7515 A.1", "RFC 7515 A.3", "RFC 8037 A.5"],
)
def test_a_printed_token_verifies_and_one_changed_character_does_not(jwk, token, payload):
    key = Key.from_jwk(jwk)
    assert verify_bytes(token, key) == payload
    with pytest.raises(TokenRefused) as refusal:
        verify_bytes(token.replace(".R", ".S").replace(".eyJpc3Mi", ".eyJpc3Nj"), key)
    assert refusal.value.reason == "bad_signature"


def test_rfc_8037_a4_signing_gives_the_printed_signature():
    header, payload, signature = ED.split(".")
    assert base64.urlsafe_b64decode(payload + "==") == b"Example of Ed25519 signing"
    made = Key.from_jwk(ED_KEY).signer(f"{header}.{payload}".encode())
    assert base64.urlsafe_b64encode(made).rstrip(b"=").decode() == signature


def test_rfc_7515_a1_the_mac_is_the_printed_one():
    message, _, signature = A1.rpartition(".")
    made = Key.from_jwk(A1_KEY).signer(message.encode())
    assert base64.urlsafe_b64encode(made).rstrip(b"=").decode() == signature


def test_rfc_7515_a1_as_a_token_is_refused_for_what_it_lacks():
    with pytest.raises(TokenRefused) as refusal:
        verify(A1, Key.from_jwk(A1_KEY), Policy(issuer="joe", audience="x", max_lifetime=None), now=1300819379)
    assert (refusal.value.reason, refusal.value.claim) == ("claim_missing", "aud")


def test_rfc_7638_and_8037_thumbprints_are_the_printed_ones():
    assert Key.from_jwk(THUMBPRINT_KEY).kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert Key.from_jwk(ED_KEY).public().thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(("figure", "alg"), [("13", "RS256"), ("20", "PS384"), ("27", "ES512"), ("35", "HS256")])
def test_rfc_7520_section_4_signatures_verify(figure, alg):
    # The vectors name another algorithm in two of the keys; the tokens are the RFC's.
    if not VECTORS.exists():
        pytest.skip("needs ../shared/vectors/wycheproof/json_web_signature_test.json")
    groups = json.loads(VECTORS.read_text())["testGroups"]
    group = next(group for group in groups if group["tests"][0]["comment"] == f"Figure{figure}")
    jwk = {name: value for name, value in (group.get("public") or group["private"]).items() if name != "alg"}
    payload = verify_bytes(group["tests"][0]["jws"], Key.from_jwk(jwk, alg=alg)).decode()
    assert payload.startswith("It\u2019s a dangerous business, Frodo, going out your door.")


def test_the_token_of_rfc_9068_section_2_2_meets_its_policy():
    # The RFC prints header and claims, and no signature: 245 days of life need a word.
    claims = {
        "iss": "https://authorization-server.example.com/",
        "sub": "5ba552d67",
        "aud": "https://rs.example.com/",
        "exp": 1639528912,
        "iat": 1618354090,
        "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
        "client_id": "s6BhdRkqt3",
        "scope": "openid profile reademail",
    }
    key = Key.generate("RS256", kid="RjEwOwOA")
    token = sign_bytes(json.dumps(claims).encode(), key, typ="at+JWT")
    needs = {"issuer": claims["iss"], "audience": claims["aud"], "typ": "at+jwt", "scope": "profile openid"}
    found = verify(token, key.public(), Policy(**needs, max_lifetime=None), now=1639528911)
    assert (found.client_id, found.scopes) == ("s6BhdRkqt3", ("openid", "profile", "reademail"))
    for changes, now, reason in [
        ({}, 1639528911, "lifetime_too_long"),
        ({"max_lifetime": None}, 1639528912, "expired"),
        ({"max_lifetime": None, "typ": "logout+jwt"}, 1639528911, "typ_mismatch"),
    ]:
        with pytest.raises(TokenRefused) as refusal:
            verify(token, key.public(), Policy(**{**needs, **changes}), now=now)
        assert refusal.value.reason == reason

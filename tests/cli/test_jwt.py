"""`valetkey jwt`: what it signs others verify, what others sign it verifies, and what it refuses it explains."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt as pyjwt
import pytest

from valetkey.cli.jwt import duration
from valetkey.errors import InvalidInput
from valetkey.values import Secret

ISSUER, AUDIENCE = "https://auth.example", "https://api.example"
WANTED = ("--issuer", ISSUER, "--audience", AUDIENCE)
SECRET = "a-shared-secret-of-more-than-32-bytes-for-hs256"

# RFC 7515 appendix A.1: a token of 2011 and its key.
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
RFC_KEY = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}


@pytest.fixture
def files(inside, tmp_path):
    """Return a private key, its public half, a shared secret, and the RFC's key, as files."""
    paths = {name: str(tmp_path / name) for name in ("key", "public", "secret", "rfc")}
    assert inside("key", "generate", "--out", paths["key"]).code == 0
    (tmp_path / "public").write_text(inside("key", "public", paths["key"]).out)
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "rfc").write_text(json.dumps(RFC_KEY))
    return paths


def claims(**more):
    now = int(time.time())
    return {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, **more}


def test_what_it_signs_pyjwt_verifies(inside, files):
    more = ("--subject", "ci", "--scope", "read", "--scope", "write", "--claim", "run=7", "--claim", "ref=main")
    token = inside("jwt", "sign", "--key", files["key"], *WANTED, *more, "--lifetime", "5m").out.strip()
    key = pyjwt.PyJWK(json.loads(Path(files["public"]).read_text()))
    read = pyjwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)
    assert {name: read[name] for name in ("sub", "scope", "run", "ref")} == {
        "sub": "ci",
        "scope": "read write",
        "run": 7,
        "ref": "main",
    }
    assert read["exp"] - read["iat"] == 300
    assert read["jti"]


def test_what_pyjwt_signs_it_verifies(inside, files):
    token = pyjwt.encode(claims(sub="ci"), SECRET, "HS256")
    done = inside("jwt", "verify", "--secret-file", files["secret"], *WANTED, "--subject", "ci", stdin=token + "\n")
    assert (done.code, done.json["sub"]) == (0, "ci")


def test_a_token_may_come_from_a_file(inside, files, tmp_path):
    (tmp_path / "token").write_text(inside("jwt", "sign", "--key", files["key"], *WANTED).out)
    done = inside("jwt", "verify", str(tmp_path / "token"), "--key", files["public"], *WANTED)
    assert (done.code, done.json["iss"]) == (0, ISSUER)


@pytest.mark.parametrize(
    ("made", "more", "reason"),
    [
        ({"exp": 1_300_819_380, "iat": 1_300_819_000}, (), "expired"),
        ({"iss": "https://evil.example"}, (), "iss_mismatch"),
        ({"aud": "https://other.example"}, (), "aud_mismatch"),
        ({"scope": "read"}, ("--scope", "write"), "scope_insufficient"),
        ({}, ("--any-scope", "a b"), "scope_insufficient"),
        ({"sub": "mallory"}, ("--subject", "ci"), "sub_mismatch"),
        ({}, ("--required", "tenant"), "claim_missing"),
        ({}, ("--typ", "at+jwt"), "typ_mismatch"),
        ({}, ("--max-lifetime", "1m"), "lifetime_too_long"),
    ],
)
def test_a_token_that_does_not_meet_the_demands_is_refused_for_its_reason(inside, files, made, more, reason):
    token = pyjwt.encode(claims(**made), SECRET, "HS256")
    words = ("--secret-file", files["secret"], *WANTED, *more)
    done = inside("jwt", "verify", *words, "--json", stdin=token)
    assert (done.code, done.error["code"], done.out) == (8, reason, "")
    assert token not in done.err
    explained = inside("jwt", "explain", *words, "--json", stdin=token)
    assert (explained.code, explained.json["verdict"], explained.json["reason"]) == (8, "refused", reason)


def test_a_refusal_tells_people_what_was_wanted_and_what_came_as_it_tells_programs(inside, files):
    token = pyjwt.encode(claims(aud="https://other.example"), SECRET, "HS256")
    words = ("jwt", "verify", "--secret-file", files["secret"], *WANTED)
    told = inside(*words, stdin=token).err.splitlines()
    assert told[1:3] == [f"  expected: {AUDIENCE}", "  got:      https://other.example"]
    error = inside(*words, "--json", stdin=token).error
    assert (error["expected"], error["got"]) == (AUDIENCE, "https://other.example")


def test_a_token_in_a_claim_is_masked_where_the_claim_is_refused(inside, files):
    inner = pyjwt.encode(claims(sub="ci"), SECRET, "HS256")
    token = pyjwt.encode(claims(aud=["a", f"x {inner[:60]}"]), SECRET, "HS256")
    words = ("jwt", "verify", "--secret-file", files["secret"], *WANTED)
    assert inside(*words, "--json", stdin=token).error["got"] == "a, x (masked)"
    assert "  got:      a, x (masked)\n" in inside(*words, stdin=token).err


def test_a_wrong_key_and_a_token_that_is_none_are_refused(inside, files):
    token = pyjwt.encode(claims(), SECRET, "HS256")
    assert inside("jwt", "verify", "--key", files["public"], *WANTED, "--json", stdin=token).code == 8
    done = inside("jwt", "verify", "--key", files["public"], *WANTED, "--json", stdin="not a token")
    assert (done.code, done.error["code"]) == (8, "malformed_token")


def test_explaining_the_rfcs_token_shows_what_is_right_and_what_is_wrong_with_it(inside, files):
    words = ("--key", files["rfc"], "--alg", "HS256", "--issuer", "joe", "--audience", "me")
    done = inside("jwt", "explain", *words, stdin=RFC_TOKEN)
    assert (done.code, done.out.splitlines()[0]) == (8, "verdict: refused (expired)")
    assert "ok   signature" in done.out
    assert "claims, genuine but refused:" in done.out
    assert RFC_TOKEN.rpartition(".")[2] not in done.out


def test_without_keys_and_demands_nothing_is_accepted_and_nothing_refused(inside):
    done = inside("jwt", "explain", "--json", stdin=pyjwt.encode(claims(), SECRET, "HS256"))
    assert (done.code, done.json["verdict"]) == (0, "unchecked")


def test_a_token_cannot_drive_the_terminal_it_is_explained_on(inside):
    nasty = pyjwt.encode(claims(note="\x1b[2J\u202eevil\nline"), SECRET, "HS256")
    done = inside("jwt", "explain", stdin=nasty)
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


@pytest.mark.parametrize(
    "words",
    [
        ("jwt", "verify", *WANTED),
        ("jwt", "verify", "--key", "-", *WANTED),
        ("jwt", "verify", "--key", "{public}", "--discover", *WANTED),
        ("jwt", "verify", "--key", "{public}", "--audience", AUDIENCE),
        ("jwt", "verify", "--key", "{public}", "--issuer", ISSUER),
        ("jwt", "verify", "--key", "{public}", *WANTED, "--leeway", "1h"),
        ("jwt", "verify", "--key", "{public}", *WANTED, "--max-age", "soon"),
        ("jwt", "verify", "{folder}/none", "--key", "{public}", *WANTED),
        ("jwt", "verify", "--jwks-url", "http://auth.example/keys", *WANTED),
        ("jwt", "explain", "--discover"),
        ("jwt", "sign", *WANTED),
        ("jwt", "sign", "--key", "{public}", *WANTED),
        ("jwt", "sign", "--key", "{key}", *WANTED, "--lifetime", "2h"),
        ("jwt", "sign", "--key", "{key}", *WANTED, "--claim", "exp=1"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_and_no_refusal(inside, files, tmp_path, words):
    words = [word.format(**files, folder=tmp_path) for word in words]
    done = inside(*words, "--json", stdin="a.b.c")
    assert (done.code, done.out) == (2, "")
    assert done.error["message"]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("1d", 86_400)])
def test_lengths_of_time_are_read(text, seconds):
    assert duration(text, "--lifetime").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "1.5h", "5 m", "1w", "99999999999s"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(InvalidInput):
        duration(text, "--lifetime")


# ── keys that an issuer publishes ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def issuer(files):
    """Return an issuer on loopback that publishes the public key at /keys, and its metadata."""
    published = {"keys": [json.loads(Path(files["public"]).read_text())]}

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = f"http://127.0.0.1:{self.server.server_address[1]}"
            known = {
                "/keys": published,
                "/.well-known/openid-configuration": {"issuer": here, "jwks_uri": f"{here}/keys"},
            }
            body = json.dumps(known.get(self.path, {})).encode()
            self.send_response(200 if self.path in known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Issuer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.network
def test_keys_are_fetched_from_the_issuer_by_url_and_by_discovery(inside, files, issuer):
    demanded = ("--issuer", issuer, "--audience", AUDIENCE)
    token = inside("jwt", "sign", "--key", files["key"], *demanded).out
    for where in (("--jwks-url", f"{issuer}/keys"), ("--discover",)):
        done = inside("jwt", "verify", *demanded, *where, stdin=token)
        assert (done.code, json.loads(done.out or "{}").get("iss")) == (0, issuer), done.err
        explained = inside("jwt", "explain", *demanded, *where, "--json", stdin=token)
        assert explained.json["verdict"] == "accepted"


@pytest.mark.network
def test_keys_that_cannot_be_fetched_are_weather_and_no_refusal(inside, files, issuer):
    demanded = ("--issuer", issuer, "--audience", AUDIENCE)
    token = inside("jwt", "sign", "--key", files["key"], *demanded).out
    done = inside("jwt", "verify", *demanded, "--jwks-url", f"{issuer}/gone", "--json", stdin=token)
    assert (done.code, done.error["code"]) == (6, "jwks_unavailable")
    explained = inside("jwt", "explain", *demanded, "--jwks-url", f"{issuer}/gone", "--json", stdin=token)
    assert (explained.code, explained.error["code"], explained.out) == (6, "jwks_unavailable", "")


# ── in the audit log ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_signed_and_verified_is_in_the_log_of_the_vault_that_is_named(inside, files, tmp_path, monkeypatch):
    vault = str(tmp_path / "v.db")
    assert inside("vault", "init", "--vault", vault).code == 0
    signed = inside("jwt", "sign", "--key", files["key"], *WANTED, "--subject", "ci", "--vault", vault)
    monkeypatch.setenv("VALETKEY_VAULT", vault)
    token = signed.out.strip()
    assert inside("jwt", "verify", "--key", files["public"], *WANTED, stdin=token).code == 0
    assert inside("jwt", "verify", "--key", files["public"], *WANTED, stdin=token + "x").code == 8
    lines = [line for line in inside("audit", "tail", "--json").json if line["kind"].startswith("jwt.")]
    assert [(line["kind"], line["subject"], line["outcome"]) for line in lines] == [
        ("jwt.issued", ISSUER, "ok"),
        ("jwt.verified", ISSUER, "ok"),
        ("jwt.refused", ISSUER, "refused"),
    ]
    read = pyjwt.decode(token, options={"verify_signature": False})
    assert (lines[0]["detail"]["subject"], lines[0]["detail"]["token_id"]) == ("ci", read["jti"])
    assert lines[0]["fingerprint"] == lines[1]["fingerprint"] == Secret(token).fingerprint()
    assert token.rpartition(".")[2] not in json.dumps(lines)


def test_no_vault_is_made_or_needed_where_none_is_named(inside, files, home):
    token = inside("jwt", "sign", "--key", files["key"], *WANTED).out
    assert inside("jwt", "verify", "--key", files["public"], *WANTED, stdin=token).code == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_vault_that_is_named_is_to_be_there_and_then_nothing_is_issued(inside, files, tmp_path):
    done = inside("jwt", "sign", "--key", files["key"], *WANTED, "--vault", str(tmp_path / "none.db"), "--json")
    assert (done.code, done.out, done.error["code"]) == (7, "", "vault_missing")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("word", ["Bearer ", "bearer ", "BEARER  "])
@pytest.mark.parametrize("command", ["verify", "explain"])
def test_a_token_with_the_word_of_its_header_before_it_says_so(inside, files, word, command):
    token = pyjwt.encode(claims(), SECRET, "HS256")
    done = inside("jwt", command, "--secret-file", files["secret"], *WANTED, stdin=f"{word}{token}\n")
    assert done.code == 8
    assert "malformed_token" in done.out + done.err
    assert "leave out the word Bearer" in done.out + done.err


def test_a_lifetime_is_explained_as_a_span_of_time(inside, files):
    token = pyjwt.encode(claims(), SECRET, "HS256")
    words = ("--secret-file", files["secret"], *WANTED, "--max-lifetime", "9m")
    checks = inside("jwt", "explain", *words, "--json", stdin=token).json["checks"]
    lifetime = next(check for check in checks if check["rule"] == "lifetime")
    assert (lifetime["expected"], lifetime["got"]) == ("9 min or less", "10 min")


@pytest.mark.network
def test_an_address_that_gives_no_keys_is_to_be_checked_first(inside, files, issuer):
    token = inside("jwt", "sign", "--key", files["key"], "--issuer", issuer, "--audience", AUDIENCE).out
    demanded = ("--audience", AUDIENCE, "--json")
    nowhere = inside("jwt", "verify", "--issuer", issuer, "--jwks-url", f"{issuer}/kezs", *demanded, stdin=token)
    unknown = inside("jwt", "verify", "--issuer", f"{issuer}/nosuch", "--discover", *demanded, stdin=token)
    assert (nowhere.code, unknown.code) == (6, 6)
    assert nowhere.error["fix"] == "check the address that --jwks-url gives; if it is right, try again later"
    assert unknown.error["fix"] == "check the address that --issuer gives; if it is right, try again later"


def test_a_token_without_issuer_or_audience_is_remarked_on(inside, files):
    signed = inside("jwt", "sign", "--key", files["key"], "--issuer", "https://i.example")
    assert signed.err.startswith("valetkey: this token is for everybody: `valetkey jwt verify`")
    both = inside("jwt", "sign", "--key", files["key"])
    assert (both.code, both.out.count("."), "--issuer … --audience …" in both.err) == (0, 2, True)
    whole = inside("jwt", "sign", "--key", files["key"], "--issuer", "https://i.example", "--audience", AUDIENCE)
    assert whole.err == ""


def test_nothing_on_standard_input_is_said_to_be_nothing(inside, files):
    words = (
        "jwt",
        "verify",
        "--key",
        files["public"],
        "--issuer",
        "https://i.example",
        "--audience",
        AUDIENCE,
        "--json",
    )
    refused = inside(*words, stdin="\n")
    assert (refused.code, refused.error["code"]) == (8, "malformed_token")
    assert refused.error["message"] == "standard input is empty"

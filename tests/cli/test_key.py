"""`valetkey key`: keys are made for their owner alone, and looked at without being shown."""

from __future__ import annotations

import json
import os
import stat

import pytest

# RFC 8037 appendix A.1 (a private key), A.2 (its public half) and A.3 (its thumbprint).
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.fixture
def rfc_key(tmp_path):
    path = tmp_path / "rfc.jwk"
    path.write_text(json.dumps(JWK))
    return str(path)


def test_a_key_is_described_without_being_shown(inside, rfc_key):
    done = inside("key", "show", rfc_key, "--alg", "EdDSA", "--json")
    described = {"alg": "EdDSA", "kid": THUMBPRINT, "kind": "private", "thumbprint": THUMBPRINT}
    assert (done.code, done.json) == (0, [described])
    people = inside("key", "show", rfc_key, "--alg", "EdDSA")
    assert THUMBPRINT in people.out
    assert JWK["d"] not in people.out + done.out


def test_the_public_half_is_given_in_each_form(inside, rfc_key):
    half = inside("key", "public", rfc_key, "--alg", "EdDSA").json
    assert (half["x"], "d" in half) == (JWK["x"], False)
    assert inside("key", "public", rfc_key, "--alg", "EdDSA", "--format", "jwks").json == {"keys": [half]}
    assert inside("key", "public", rfc_key, "--alg", "EdDSA", "--format", "pem").out.startswith("-----BEGIN PUBLIC KEY")
    assert "-----BEGIN" in inside("key", "public", rfc_key, "--alg", "EdDSA", "--format", "pem", "--json").json["pem"]


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256", "HS256"])
def test_a_new_key_is_written_for_its_owner_alone_and_never_over_another(inside, tmp_path, alg):
    path = tmp_path / "new.jwk"
    done = inside("key", "generate", "--alg", alg, "--out", str(path), "--json")
    assert (done.code, done.json["alg"], done.json["file"]) == (0, alg, str(path))
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = inside("key", "generate", "--out", str(path), "--json")
    assert (again.code, again.error["code"], path.read_bytes()) == (2, "already_exists", before)
    secret = json.loads(before)["k" if alg == "HS256" else "d"]
    assert secret not in done.out + done.err


def test_without_a_file_the_key_goes_to_standard_output_for_a_secret_manager(inside):
    made = inside("key", "generate", "--kid", "2026-03").json
    assert (made["kty"], made["crv"], made["kid"], "d" in made) == ("EC", "P-256", "2026-03", True)
    assert inside("key", "generate", "--format", "pem").out.startswith("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["key", "generate", "--alg", "none"], "key_refused"),
        (["key", "generate", "--alg", "HS256", "--format", "pem"], "key_refused"),
        (["key", "generate", "--out", "{folder}/none/new.jwk"], "invalid_input"),
        (["key", "show", "{folder}/none"], "invalid_input"),
        (["key", "show", "{folder}/text"], "key_refused"),
        (["key", "show", "{folder}/half"], "invalid_input"),
        (["key", "public", "{folder}/secret"], "key_refused"),
        (["key", "public", "{folder}/two"], "invalid_input"),
    ],
)
def test_what_is_no_key_is_refused(inside, tmp_path, words, code):
    secret = {"kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0"}
    half = {name: value for name, value in JWK.items() if name != "d"} | {"alg": "EdDSA"}
    (tmp_path / "text").write_text("no key")
    (tmp_path / "half").write_text("{")
    (tmp_path / "secret").write_text(json.dumps(secret))
    (tmp_path / "two").write_text(json.dumps({"keys": [half | {"kid": "a"}, half | {"kid": "b"}]}))
    done = inside(*(word.replace("{folder}", str(tmp_path)) for word in words), "--json")
    assert (done.code, done.error["code"], done.out) == (2, code, "")
    assert secret["k"] not in done.err


def test_every_key_of_a_set_is_shown(inside, tmp_path):
    half = {name: value for name, value in JWK.items() if name != "d"} | {"alg": "EdDSA"}
    path = tmp_path / "set"
    path.write_text(json.dumps({"keys": [half | {"kid": "a"}, half | {"kid": "b"}]}))
    assert [(one["kid"], one["kind"]) for one in inside("key", "show", str(path), "--json").json] == [
        ("a", "public"),
        ("b", "public"),
    ]


def test_nobody_is_sent_for_the_public_half_of_a_shared_secret(inside, tmp_path):
    secret, pair = (inside("key", "generate", "--alg", alg, "--out", str(tmp_path / alg)) for alg in ("HS256", "ES256"))
    assert (secret.code, "key public" in secret.err) == (0, False)
    assert (pair.code, "key public" in pair.err) == (0, True)


def test_a_file_that_is_called_pem_holds_pem(inside, tmp_path):
    cases = {("ES256", "a.pem"): "PEM", ("RS256", "b.PEM"): "PEM", ("ES256", "c.jwk"): "JWK", ("HS256", "d.pem"): "JWK"}
    for (alg, name), form in cases.items():
        file = tmp_path / name
        done = inside("key", "generate", "--alg", alg, "--out", str(file))
        assert (done.code, f"{name}, as {form};" in done.err) == (0, True)
        assert file.read_text().startswith("-----BEGIN PRIVATE KEY-----" if form == "PEM" else "{")
    assert f"`valetkey key public {tmp_path / 'b.PEM'} --alg RS256`" in inside(
        "key", "generate", "--alg", "RS256", "--format", "pem", "--out", str(tmp_path / "e.txt")
    ).err.replace("e.txt", "b.PEM")
    assert inside("key", "public", str(tmp_path / "b.PEM"), "--alg", "RS256").code == 0


def test_a_kid_that_pem_has_no_place_for_is_not_lost_silently(inside, tmp_path):
    done = inside("key", "generate", "--kid", "mine", "--out", str(tmp_path / "a.pem"))
    assert "no place for its kid" in done.err
    told = inside("key", "generate", "--kid", "mine", "--format", "jwk", "--out", str(tmp_path / "b.pem"))
    assert (told.code, "as JWK" in told.err, "no place" in told.err) == (0, True, False)

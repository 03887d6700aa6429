"""Secrets by reference on the command line: what is kept, what is shown, what is warned about."""

from __future__ import annotations

import pytest

from clikit import WEB_SECRET
from valetkey.jose import Key
from valetkey.managers.kv import Kv

ACME = ("app", "add", "acme", "--token-url", "https://acme.example/token", "--client-id", "me")
ACME_JWT = ("--issuer", "https://issuer.example", "--audience", "https://api.example", "--subject", "me")


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(WEB_SECRET + "\n")
    return file


def test_the_reference_is_kept_and_shown_and_the_secret_is_not(inside, home, secret_file, canary):
    canary.watch("client secret", WEB_SECRET)
    reference = f"file:{secret_file}"
    added = inside(*ACME, "--secret-ref", reference)
    assert added.code == 0, added.err
    shown = inside("app", "show", "acme")
    assert reference in shown.out
    assert inside("app", "show", "acme", "--json").json["secret_ref"] == reference
    told = inside("audit", "tail", "--json").out
    assert "secret.resolved" in told
    canary.assert_absent(added.out, added.err, shown.out, told, home / "data")


def test_a_reference_that_leads_nowhere_is_refused_unless_one_says_so(inside, tmp_path):
    words = (*ACME, "--secret-ref", f"file:{tmp_path}/nowhere", "--json")
    refused = inside(*words)
    assert (refused.code, refused.error["code"]) == (2, "manager_secret_missing")
    assert "check the path" in refused.error["fix"]
    assert inside("app", "list", "--json").error["code"] == "vault_missing"  # not even an empty one is left behind
    assert inside(*words, "--no-check").json["has_secret"]


@pytest.mark.parametrize("reference", ["env:NOBODY_HAS_SET_THIS", "file:/", "file:/nowhere/at/all"])
def test_what_is_staged_is_looked_up_too(inside, reference):
    assert inside(*ACME, "--secret-stdin", stdin=WEB_SECRET).code == 0
    refused = inside("app", "secret", "stage", "acme", "--secret-ref", reference, "--json")
    assert (refused.code, bool(refused.error["cause"]), bool(refused.error["fix"])) == (2, True, True)


@pytest.mark.parametrize("given", ["google", "vault:google#secret", "vault:kv/google", "aws-sm:", "file:here"])
def test_what_is_no_reference_is_refused(inside, given):
    refused = inside(*ACME, "--secret-ref", given, "--no-check", "--json").error
    assert refused["code"] == "invalid_input"
    assert "vault:MOUNT/PATH#FIELD" in refused["fix"]


def test_a_variable_is_taken_with_a_warning(inside, monkeypatch):
    monkeypatch.setenv("ACME_SECRET", WEB_SECRET)
    done = inside(*ACME, "--secret-ref", "env:ACME_SECRET")
    assert done.code == 0
    assert "warning" in done.err
    assert WEB_SECRET not in done.out + done.err


def test_a_secret_beside_its_reference_is_refused(inside, secret_file):
    done = inside(*ACME, "--secret-ref", f"file:{secret_file}", "--secret-stdin", "--json", stdin=WEB_SECRET)
    assert done.error["code"] == "invalid_input"


def test_a_private_key_may_be_kept_elsewhere(inside, tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(Key.generate("ES256").to_pem(private=True))
    words = (*ACME, "--private-key-ref", f"file:{file}", "--json")
    assert inside(*words).error["code"] == "key_refused"  # RS256 is what is taken when nothing is said
    shown = inside(*words, "--key-alg", "ES256").json
    assert (shown["has_private_key"], shown["private_key_ref"]) == (True, f"file:{file}")


def test_a_token_is_signed_and_verified_with_a_secret_that_is_kept_elsewhere(inside, tmp_path, secret_file):
    reference = ("--secret-ref", f"file:{secret_file}")
    token = tmp_path / "token"
    token.write_text(inside("jwt", "sign", *ACME_JWT, *reference).out)
    claims = inside("jwt", "verify", str(token), *ACME_JWT[:4], *reference)
    assert claims.json["sub"] == "me"
    other = inside("jwt", "verify", str(token), *ACME_JWT[:4], "--secret-file", str(token), "--json")
    assert other.code == 8


@pytest.mark.network
def test_a_vault_is_asked_by_the_variables_of_its_own_tools(inside, reached, monkeypatch, canary):
    secret = canary.make("client secret")
    Kv(reached.manager).write(f"{reached.folder}/acme", {"client_secret": secret}, "write")
    monkeypatch.setenv("VAULT_ADDR", reached.address)
    monkeypatch.setenv("VAULT_TOKEN", canary.watch("a manager's token", reached.token))
    reference = f"vault:{reached.folder}/acme#client_secret"
    done = inside(*ACME, "--secret-ref", reference)
    assert done.code == 0, done.err
    monkeypatch.setenv("VAULT_TOKEN", "hvs.another-token-that-nobody-knows")
    refused = inside(*ACME, "--secret-ref", reference, "--replace")
    assert refused.code == 5
    canary.assert_absent(done.out, done.err, refused.out, refused.err)


@pytest.mark.network
def test_a_vault_that_is_not_there_is_weather(inside, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "t")
    assert inside(*ACME, "--secret-ref", "vault:kv/acme#secret", "--json").error["code"] == "manager_unavailable"


def test_the_address_of_a_vault_is_asked_for(inside):
    refused = inside(*ACME, "--secret-ref", "vault:kv/acme#secret", "--json").error
    assert (refused["code"], "VAULT_ADDR" in refused["fix"]) == ("invalid_input", True)

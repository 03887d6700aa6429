"""`valetkey app`: what is kept of a registration, and what a person is told about it."""

from __future__ import annotations

import json
import re

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from clikit import MACHINE_SECRET, WEB_SECRET, kept
from valetkey.cli.app import app
from valetkey.jose import Key
from valetkey.providers import keys, load
from valetkey.providers.schema import Provider

ACME = ("--token-url", "https://acme.example/token", "--authorize-url", "https://acme.example/authorize")


def test_an_app_of_the_catalogue_says_what_to_register_and_where(inside):
    done = inside("app", "add", "google", "--client-id", "me", "--secret-stdin", stdin=f"{WEB_SECRET}\n")
    assert done.code == 0, done.err
    assert "register exactly this redirect URI:  http://127.0.0.1/callback\n" in done.out
    assert "https://console.cloud.google.com/apis/credentials" in done.out
    assert "dies after 7 days" in done.out
    assert WEB_SECRET not in done.out + done.err


def test_programs_are_told_the_same(inside):
    words = ("app", "add", "gh", "github", "--client-id", "me", "--redirect-uri", "http://127.0.0.1:8765/cb")
    said = inside(*words, "--secret-stdin", "--json", stdin=WEB_SECRET).json
    assert (said["name"], said["provider"], said["has_secret"]) == ("gh", "github", True)
    assert said["register"] == said["redirect_uri"] == "http://127.0.0.1:8765/cb"
    assert said["console"].startswith("https://github.com/")
    assert WEB_SECRET not in json.dumps(said)


def test_a_server_outside_the_catalogue_is_described_by_its_urls(inside):
    inside("app", "add", "acme", *ACME, "--revoke-url", "https://acme.example/revoke", "--client-id", "me", "--public")
    shown = inside("app", "show", "acme", "--json").json
    assert shown["provider"] == "generic"
    assert shown["endpoints"]["token"] == "https://acme.example/token"
    assert shown["endpoints"]["revoke"] == "https://acme.example/revoke"
    assert (shown["token_auth"], shown["has_secret"]) == ("none", False)


def test_parameters_fill_the_providers_urls(inside):
    words = ("app", "add", "tenant", "auth0", "--client-id", "me", "--public")
    refused = inside(*words, "--json").error
    assert refused["code"] == "invalid_input"
    assert "--param domain=…" in refused["fix"]
    assert (
        inside(*words, "--param", "domain=acme.eu.auth0.com", "--param", "audience=https://api.acme.example").code == 0
    )
    assert inside("app", "show", "tenant", "--json").json["endpoints"]["token"].startswith("https://acme.eu.auth0.com/")


def test_scopes_may_be_repeated_or_separated_by_blanks(inside):
    inside(
        "app", "add", "acme", *ACME, "--client-id", "me", "--public", "--scope", "a b", "--scope", "c", "--scope", "a"
    )
    assert inside("app", "show", "acme", "--json").json["scopes"] == ["a", "b", "c"]


def test_an_app_is_replaced_only_when_that_is_said_and_keeps_its_connections(inside):
    words = ("app", "add", "acme", *ACME, "--public", "--client-id")
    assert inside(*words, "one").code == 0
    assert inside(*words, "two", "--json").error["code"] == "already_exists"
    assert inside(*words, "two", "--replace").code == 0
    assert inside("app", "show", "acme", "--json").json["client_id"] == "two"


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_is_checked_and_its_algorithm_found(inside, tmp_path, kind):
    file = tmp_path / "key.pem"
    file.write_bytes(Key.generate(kind).to_pem(private=True))
    words = ("app", "add", "acme", *ACME, "--client-id", "me", "--private-key", str(file))
    assert inside(*words).code == 0
    shown = inside("app", "show", "acme", "--json").json
    assert (shown["has_private_key"], shown["has_secret"]) == (True, False)
    assert inside(*words, "--key-alg", "HS256", "--replace", "--json").error["code"] == "key_refused"


def test_a_public_key_is_no_private_key(inside, tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(Key.generate("ES256").to_pem())
    done = inside("app", "add", "acme", *ACME, "--client-id", "me", "--private-key", str(file), "--json")
    assert done.error["message"] == "the file holds a public key"


def test_the_file_of_a_service_account_is_all_that_google_needs(inside, tmp_path, canary):
    pem = Key.generate("RS256").to_pem(private=True).decode()
    canary.watch("private key", pem.splitlines()[1])
    file = tmp_path / "account.json"
    account = {"type": "service_account", "client_email": "robot@acme.iam.gserviceaccount.com", "private_key": pem}
    file.write_text(json.dumps(account | {"private_key_id": "kid-1"}))
    done = inside("app", "add", "google", "--private-key", str(file), "--json")
    assert done.code == 0, done.err
    assert (done.json["client_id"], done.json["token_auth"]) == ("robot@acme.iam.gserviceaccount.com", "none")
    canary.assert_absent(done.out, done.err)
    file.write_text(json.dumps({"type": "authorized_user", "client_secret": "x"}))
    refused = inside("app", "add", "other", "google", "--private-key", str(file), "--json")
    assert "neither a PEM file, nor a JWK, nor the key file" in refused.error["message"]


@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "PS256"])
def test_a_jwk_is_a_private_key_as_key_generate_makes_it(inside, tmp_path, canary, kind):
    file = tmp_path / "key.jwk"
    assert inside("key", "generate", "--alg", kind, "--kid", "mine", "--out", str(file)).code == 0
    canary.watch("private key", json.loads(file.read_text())["d"])
    words = ("--client-id", "me", "--grant", "client_credentials", "--private-key", str(file))
    done = inside("app", "add", "acme", *ACME, *words, "--json")
    assert done.code == 0, done.err
    made = kept("acme")
    assert (made.key_alg, made.key_id, made.token_auth) == (kind, "mine", "private_key_jwt")
    # cryptography reads what is kept, and finds the key of the file in it.
    numbers = load_pem_private_key(made.private_key.reveal().encode(), None)
    assert Key.from_jwk(json.loads(file.read_text())).to_pem(private=True) == numbers.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    canary.assert_absent(done.out, done.err)


def test_an_rsa_jwk_that_does_not_say_what_it_is_for_is_for_rs256(inside, tmp_path):
    file = tmp_path / "key.json"
    jwk = Key.generate("RS256").to_jwk(private=True)
    file.write_text(json.dumps({name: value for name, value in jwk.items() if name not in {"alg", "kid"}}))
    words = ("--client-id", "me", "--public", "--private-key", str(file))
    assert inside("app", "add", "acme", *ACME, *words).code == 0
    assert (kept("acme").key_alg, kept("acme").key_id) == ("RS256", "")
    refused = inside("app", "add", "other", *ACME, *words, "--key-alg", "ES256", "--json").error
    assert refused["code"] == "key_refused"


def test_a_jwk_that_is_no_private_key_is_refused(inside, tmp_path):
    file = tmp_path / "key.json"
    words = ("app", "add", "acme", *ACME, "--client-id", "me", "--private-key", str(file), "--json")
    file.write_text(json.dumps(Key.generate("ES256").to_jwk()))
    assert inside(*words).error["message"] == "the file holds a public key"
    file.write_text(json.dumps(Key.generate("HS256").to_jwk(private=True)))
    assert "shared secret" in inside(*words).error["message"]


def test_a_key_proves_a_client_of_client_credentials(inside, tmp_path):
    pem = tmp_path / "key.pem"
    pem.write_bytes(Key.generate("ES256").to_pem(private=True))
    words = (*ACME, "--client-id", "me", "--private-key", str(pem))
    assert inside("app", "add", "told", *words, "--grant", "client_credentials").code == 0
    assert kept("told").token_auth == "private_key_jwt"
    assert inside("app", "add", "bare", *words).code == 0
    assert kept("bare").token_auth == "none"  # the key is the grant itself there (RFC 7523 section 2.1)
    refused = inside("app", "add", "bare", "--grant", "client_credentials", "--replace", "--json").error
    assert "`valetkey app add bare --replace`" in refused["fix"]
    mended = ("--grant", "client_credentials", "--token-auth", "private_key_jwt", "--replace")
    assert inside("app", "add", "bare", *mended).code == 0
    assert (kept("bare").token_auth, kept("bare").grant) == ("private_key_jwt", "client_credentials")
    inside("app", "add", "secret", *ACME, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET)
    both = ("--private-key", str(pem), "--grant", "client_credentials", "--replace")
    assert inside("app", "add", "secret", *both).code == 0
    assert kept("secret").token_auth is None  # by its secret, as before


@pytest.mark.parametrize(
    ("stdin", "words"),
    [("", "holds no client secret"), ("one\ntwo\n", "more than one line"), ("x" * 70_000, "too large")],
)
def test_a_secret_is_one_line_of_standard_input(inside, stdin, words):
    done = inside("app", "add", "google", "--client-id", "me", "--secret-stdin", "--json", stdin=stdin)
    assert (done.code, done.error["code"], words in done.error["message"]) == (2, "invalid_input", True)


def test_an_app_with_connections_is_not_forgotten(inside, sandbox_free_connection):
    done = inside("app", "rm", "acme", "--json")
    assert (done.code, "still has connections" in done.error["message"]) == (2, True)


@pytest.fixture
def sandbox_free_connection(inside, monkeypatch):
    """Keep acme/me without a provider: the token endpoint's answer is made here."""
    from valetkey.transport.sync import Transport
    from valetkey.values import Response

    body = b'{"access_token": "made-up-token", "token_type": "Bearer", "expires_in": 3600}'
    monkeypatch.setattr(Transport, "send", lambda *_: Response(200, {"content-type": "application/json"}, body))
    inside("app", "add", "acme", *ACME, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET)
    done = inside("connect", "acme/me", "--grant", "client_credentials")
    assert done.code == 0, done.err


@pytest.mark.network
def test_a_machines_app_opens_no_browser(inside, sandbox):
    words = ("robot", "--issuer", sandbox.url, "--client-id", "sandbox-machine", "--secret-stdin")
    hinted = inside("app", "add", *words, stdin=MACHINE_SECRET)
    assert "with --grant client_credentials, if the app is registered for it" in hinted.err
    assert inside("connect", "robot/first", "--grant", "client_credentials", "--scope", "read").code == 0
    again = inside("connect", "robot/first", "--scope", "read", "--json").json  # a browser would be waited for
    assert (again["grant"], again["reconnected"]) == ("client_credentials", True)
    told = inside("app", "add", *words, "--grant", "client_credentials", "--replace", stdin=MACHINE_SECRET)
    assert "redirect URI" not in told.out + told.err
    made = inside("connect", "robot/second", "--scope", "read", "--json").json
    assert (made["grant"], made["state"]) == ("client_credentials", "active")
    assert inside("app", "show", "robot", "--json").json["grant"] == "client_credentials"


def test_which_grant_is_taken_when_none_is_named(inside, tmp_path):
    from valetkey.library import open as open_vault
    from valetkey.vault.ways import usable_grants

    pem = tmp_path / "key.pem"
    pem.write_bytes(Key.generate("RS256").to_pem(private=True))
    urls = {"person": ACME, "machine": ACME[:2], "device": (*ACME[:2], "--device-url", "https://acme.example/device")}
    for name, given in urls.items():
        inside("app", "add", name, *given, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET)
    inside("app", "add", "google", "--client-id", "me", "--private-key", str(pem))
    with open_vault() as vault:
        first = {name: usable_grants(vault.app(name))[0] for name in (*urls, "google")}
    assert first == {
        "person": "authorization_code",
        "machine": "client_credentials",
        "device": "device_code",
        "google": "jwt_bearer",
    }


@pytest.mark.parametrize("key", keys())
def test_the_notes_of_a_provider_speak_of_options_and_not_of_its_file(key):
    notes = load(key).notes
    options = {name for param in app.commands["add"].params for name in param.opts}
    assert {option for note in notes for option in re.findall(r"--[a-z-]+", note)} <= options
    members = [field.name for field in msgspec.structs.fields(Provider)]
    assert not [note for note in notes if re.search(rf"(?<!/)\b({'|'.join(members)})\.[a-z_]+\b", note)]
    assert not [note for note in notes if re.search(r"\b(offline_scopes|token_auth|hosts_from)\b", note)]


@pytest.mark.network
@pytest.mark.parametrize("hosts", [(), ("api.example", "api2.example")])
def test_tokens_of_a_generic_app_go_where_its_note_says(inside, sandbox, hosts):
    issued = httpx.get(f"{sandbox.url}/.well-known/oauth-authorization-server").json()["token_endpoint"]
    words = ("--client-id", "sandbox-machine", "--secret-stdin", "--token-url", issued)
    named = [word for host in hosts for word in ("--host", host)]
    done = inside("app", "add", "acme", "generic", *words, *named, stdin=MACHINE_SECRET)
    assert "Tokens go to the host of the token endpoint and nowhere else, until --host names" in done.out
    shown = inside("app", "show", "acme", "--json").json["hosts"]
    assert inside("connect", "acme/one", "--grant", "client_credentials", "--scope", "read").code == 0
    bound = inside("connection", "show", "acme/one", "--json").json["hosts"]
    assert bound == shown == (list(hosts) or [sandbox.url.partition("://")[2]])


def test_the_hosts_of_an_app_stand_beside_those_of_its_provider(inside):
    words = ("app", "add", "google", "--client-id", "me", "--public", "--host", "api.example")
    assert inside(*words).code == 0
    assert inside("app", "show", "google", "--json").json["hosts"] == ["api.example", "*.googleapis.com"]

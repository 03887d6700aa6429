"""`valetkey app add --replace`: what is named of an app is changed, and all else stays as it was."""

from __future__ import annotations

import msgspec
import pytest

from clikit import MACHINE_SECRET, WEB_SECRET, kept
from valetkey.jose import Key
from valetkey.values import Secret

ACME = ("--token-url", "https://acme.example/token", "--authorize-url", "https://acme.example/authorize")

WHOLE = (
    "--client-id", "me", "--secret-stdin", "--scope", "read write", "--grant", "authorization_code", "--audience",
    "https://api.example", "--host", "api.example", "--authorize-param", "prompt=consent", "--redirect-uri",
    "http://127.0.0.1:8765/cb", "--token-auth", "client_secret_post", "--secret-expires", "2099-12-31", "--testing",
)  # fmt: skip


@pytest.fixture
def acme(inside):
    """Keep an app of which everything was said; return its record."""
    done = inside("app", "add", "acme", *ACME, *WHOLE, stdin=WEB_SECRET)
    assert done.code == 0, done.err
    return kept("acme")


CHANGES = [
    (("--scope", "x"), {"scopes": ("x",)}),
    (("--scope", ""), {"scopes": ()}),
    (("--client-id", "you"), {"client_id": "you"}),
    (("--grant", "client_credentials"), {"grant": "client_credentials"}),
    (("--grant", ""), {"grant": None}),
    (("--secret-expires", ""), {"secret_expires_at": None}),
    (("--token-auth", ""), {"token_auth": None}),
    (("--redirect-uri", "http://127.0.0.1/other"), {"redirect_uri": "http://127.0.0.1/other"}),
    (("--redirect-uri", ""), {"redirect_uri": ""}),
    (("--audience", "other"), {"audience": "other"}),
    (("--host", "one.example", "--host", "two.example"), {"hosts": ("one.example", "two.example")}),
    (("--host", ""), {"hosts": ()}),
    (("--authorize-param", "hd=x"), {"authorize_params": {"prompt": "consent", "hd": "x"}}),
    (("--token-auth", "client_secret_basic"), {"token_auth": None}),
    (("--published",), {"testing": False}),
    ((), {}),
]


@pytest.mark.parametrize(("given", "changes"), CHANGES, ids=[" ".join(row[0]) or "nothing" for row in CHANGES])
def test_what_is_named_is_changed_and_all_else_stays(inside, acme, given, changes):
    done = inside("app", "add", "acme", *given, "--replace")
    assert (done.code, done.err) == (0, "")
    assert kept("acme") == msgspec.structs.replace(acme, **changes)


def test_a_person_and_a_program_are_told_what_was_changed(inside, acme):
    done = inside("app", "add", "acme", "--scope", "x", "--public", "--replace")
    assert done.out.startswith("acme: changed: ")
    assert {"secret", "how it proves itself", "scopes"} <= set(done.out.strip().partition("changed: ")[2].split(", "))
    assert inside("app", "add", "acme", "--scope", "y", "--replace", "--json").json["changed"] == ["scopes"]
    assert inside("app", "add", "acme", "--replace").out == "acme: nothing to change\n"


def test_another_endpoint_leaves_the_others(inside, acme):
    assert inside("app", "add", "acme", "--token-url", "https://new.example/token", "--replace").code == 0
    after = kept("acme")
    assert after.described.endpoints.token == "https://new.example/token"
    assert after.described.endpoints.authorize == "https://acme.example/authorize"
    assert msgspec.structs.replace(after, described=acme.described) == acme
    assert inside("app", "add", "acme", "--token-url", "http://new.example/", "--replace", "--json").error["code"] == (
        "insecure_url"
    )


def test_a_parameter_of_the_provider_leaves_the_others(inside):
    words = ("app", "add", "tenant", "auth0", "--client-id", "me", "--public", "--param", "domain=acme.eu.auth0.com")
    assert inside(*words, "--param", "audience=https://api.acme.example").code == 0
    assert inside("app", "add", "tenant", "--param", "audience=other", "--replace").code == 0
    assert kept("tenant").params == {"domain": "acme.eu.auth0.com", "audience": "other"}


def test_a_new_secret_takes_the_place_of_the_old_one_and_of_its_end(inside, acme):
    assert inside("app", "add", "acme", "--secret-stdin", "--replace", stdin="another-secret-0123456789").code == 0
    after = kept("acme")
    assert after.secret_since > acme.secret_since
    assert after == msgspec.structs.replace(
        acme, secret=Secret("another-secret-0123456789"), secret_expires_at=None, secret_since=after.secret_since
    )


def test_a_reference_takes_the_place_of_a_secret_and_back(inside, acme, tmp_path):
    (tmp_path / "secret").write_text(WEB_SECRET)
    reference = f"file:{tmp_path}/secret"
    assert inside("app", "add", "acme", "--secret-ref", reference, "--replace").code == 0
    assert (kept("acme").secret, kept("acme").secret_ref) == (None, reference)
    assert inside("app", "add", "acme", "--scope", "x", "--replace").code == 0
    assert (kept("acme").secret, kept("acme").secret_ref) == (None, reference)
    assert inside("app", "add", "acme", "--secret-stdin", "--replace", stdin=WEB_SECRET).code == 0
    assert (kept("acme").secret, kept("acme").secret_ref) == (Secret(WEB_SECRET), "")
    assert kept("acme").token_auth == "client_secret_post"


def test_a_client_becomes_public_and_confidential_again(inside, acme):
    assert inside("app", "add", "acme", "--public", "--replace").code == 0
    public = kept("acme")
    assert (public.secret, public.secret_ref, public.token_auth) == (None, "", "none")
    assert inside("app", "add", "acme", "--scope", "x", "--replace").code == 0  # and no secret is asked for
    assert inside("app", "add", "acme", "--secret-stdin", "--replace", stdin=WEB_SECRET).code == 0
    again = kept("acme")
    assert (again.secret, again.token_auth, again.scopes) == (Secret(WEB_SECRET), None, ("x",))


def test_a_method_that_needs_a_secret_asks_for_it(inside, acme):
    assert inside("app", "add", "acme", "--public", "--replace").code == 0
    refused = inside("app", "add", "acme", "--token-auth", "client_secret_basic", "--replace", "--json")
    assert (refused.code, "client secret is needed" in refused.error["message"]) == (2, True)
    assert kept("acme").token_auth == "none"


def test_a_key_takes_the_place_of_a_secret_and_back(inside, tmp_path):
    words = ("app", "add", "gh", "github", "--client-id", "me")
    assert (
        inside(*words, "--secret-stdin", stdin=WEB_SECRET).code == 0
    )  # where a key proves the client or is for nothing
    file = tmp_path / "key.pem"
    file.write_bytes(Key.generate("ES256").to_pem(private=True))
    assert inside("app", "add", "gh", "--private-key", str(file), "--replace").code == 0
    keyed = kept("gh")
    assert (keyed.secret, keyed.token_auth, keyed.key_alg) == (None, "private_key_jwt", "ES256")
    assert inside("app", "add", "gh", "--key-id", "k2", "--replace").code == 0
    assert kept("gh") == msgspec.structs.replace(keyed, key_id="k2", secret_since=kept("gh").secret_since)
    assert inside("app", "add", "gh", "--public", "--replace").code == 0
    assert (kept("gh").private_key, kept("gh").key_id, kept("gh").token_auth) == (None, "", "none")


def test_a_key_that_is_the_grant_itself_stands_beside_the_secret(inside, acme, tmp_path):
    file = tmp_path / "key.pem"
    file.write_bytes(Key.generate("ES256").to_pem(private=True))
    assert inside("app", "add", "acme", "--private-key", str(file), "--replace").code == 0
    both = kept("acme")
    assert (both.secret, both.token_auth, both.key_alg) == (acme.secret, "client_secret_post", "ES256")


def test_another_provider_is_another_app(inside, acme):
    google = inside("app", "add", "acme", "google", "--client-id", "me", "--replace", "--json")
    assert (google.code, google.error["code"]) == (2, "invalid_input")
    assert "not at Google" in google.error["message"]
    assert "valetkey app rm acme" in google.error["fix"]
    assert kept("acme") == acme


def test_an_app_that_is_not_there_is_added_whole(inside):
    words = ("app", "add", "acme", *ACME, "--client-id", "me", "--replace")
    assert "client secret is needed" in inside(*words, "--json").error["message"]
    assert inside(*words, "--public").out.startswith("acme: kept, for ")


@pytest.mark.network
def test_a_machines_app_stays_one(inside, sandbox):
    words = ("--issuer", sandbox.url, "--client-id", "sandbox-machine", "--secret-stdin")
    assert inside("app", "add", "robot", *words, "--grant", "client_credentials", stdin=MACHINE_SECRET).code == 0
    assert inside("app", "add", "robot", "--scope", "read", "--replace").code == 0
    made = inside("connect", "robot/one", "--json").json  # a browser would be waited for
    assert (made["grant"], made["granted"]) == ("client_credentials", ["read"])
    # The same server, described anew, is the same provider.
    assert inside("app", "add", "robot", "--issuer", sandbox.url, "--replace").out == "robot: nothing to change\n"
    other = sandbox.url.replace("127.0.0.1", "localhost")
    moved = inside("app", "add", "robot", "generic", "--token-url", f"{other}/token", "--replace", "--json").error
    assert "is a registration at" in moved["message"]


def test_a_public_client_has_no_client_credentials(inside):
    words = ("app", "add", "acme", *ACME, "--client-id", "me", "--public")
    refused = inside(*words, "--grant", "client_credentials", "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_input")
    assert "RFC 6749 section 4.4" in refused.error["cause"]
    assert "--secret-stdin" in refused.error["fix"]
    assert inside("app", "list").code == 7  # no vault was made
    assert inside(*words).code == 0
    refused = inside("connect", "acme/one", "--grant", "client_credentials", "--json")
    assert (refused.code, "public client" in refused.error["message"]) == (2, True)
    refused = inside("app", "add", "acme", "--grant", "client_credentials", "--replace", "--json")
    assert (refused.code, "public client" in refused.error["message"]) == (2, True)


def test_a_public_client_of_a_machines_provider_has_no_way_to_connect(inside):
    assert inside("app", "add", "acme", *ACME[:2], "--client-id", "me", "--public").code == 0
    refused = inside("connect", "acme/one", "--json")
    assert (refused.code, "has no way to connect" in refused.error["message"]) == (2, True)
    assert "--authorize-url" in refused.error["fix"]


def test_an_app_of_the_catalogue_is_not_described_by_an_issuer_unsaid(inside):
    assert inside("app", "add", "google", "--client-id", "me", "--public").code == 0
    # Refused before anybody is asked: the unit tests have no network.
    refused = inside("app", "add", "google", "--issuer", "https://accounts.google.com", "--replace", "--json")
    assert (refused.code, "one of provider google" in refused.error["message"]) == (2, True)


def test_what_is_to_be_changed_has_to_be_there(inside):
    inside("app", "add", "github", "--client-id", "me", "--public")
    for words in (("githup",), ("githup", "google"), ("githup", *ACME), ("google", "--scope", "x")):
        refused = inside("app", "add", *words, "--replace", "--json")
        assert (refused.code, refused.error["code"]) == (3, "not_found"), words
        assert refused.error["message"] == f"there is no app called {words[0]}"
        assert ("did you mean github?" in refused.error["fix"]) == (words[0] == "githup")


def test_nothing_is_changed_where_there_is_no_vault(inside):
    refused = inside("app", "add", "nosuch", "--scope", "x", "--replace", "--json")
    assert (refused.code, refused.error["code"]) == (7, "vault_missing")


def test_a_name_that_is_taken_is_told_before_anything_is_asked_for(inside, acme):
    for words in ((), ("github",), ("--issuer", "http://127.0.0.1:1"), ("--token-url", "https://other.example/token")):
        refused = inside("app", "add", "acme", *words, "--json")
        assert (refused.code, refused.error["code"]) == (2, "already_exists"), words
        assert "--replace" in refused.error["fix"]
    assert kept("acme") == acme


def test_an_empty_url_is_the_catalogues_again(inside):
    urls = ("--token-url", "https://git.acme.example/token", "--device-url", "https://git.acme.example/device")
    assert inside("app", "add", "github", "--client-id", "me", "--public", *urls).code == 0
    assert inside("app", "add", "github", "--device-url", "", "--replace").code == 0
    ends = kept("github").described.endpoints
    # As the documentation of GitHub's device flow has it.
    assert (ends.device, ends.token) == ("https://github.com/login/device/code", "https://git.acme.example/token")


def test_who_takes_back_all_urls_has_the_catalogues_description(inside):
    assert (
        inside("app", "add", "github", "--client-id", "me", "--public", "--revoke-url", "https://x.example/").code == 0
    )
    assert kept("github").described is not None
    assert inside("app", "add", "github", "--revoke-url", "", "--replace").code == 0
    assert kept("github").described is None


def test_what_cannot_be_taken_back_is_said(inside, acme):
    for words, said in {
        ("--client-id", ""): "cannot be without a client id",
        ("--token-url", ""): "needs its token endpoint",
    }.items():
        refused = inside("app", "add", "acme", *words, "--replace", "--json")
        assert (refused.code, refused.error["code"], said in refused.error["message"]) == (2, "invalid_input", True)
    assert kept("acme") == acme


def test_where_tokens_may_go_is_said_when_hosts_are_named(inside):
    words = ("--client-id", "me", "--public", "--host", "api.example")
    assert "  hosts:  api.example\n" in inside("app", "add", "acme", *ACME, *words).out
    both = ("--host", "api.example", "--host", "two.example")
    assert "  hosts:  api.example, two.example\n" in inside("app", "add", "acme", *both, "--replace").out
    assert "  hosts:  acme.example\n" in inside("app", "add", "acme", "--host", "", "--replace").out

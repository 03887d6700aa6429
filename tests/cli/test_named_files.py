"""Where a file's name is wanted, a secret is often given: then it is not shown, and it is said where it goes.

What may not be here: what stands in files.
"""

from __future__ import annotations

import pytest

CANARY = "Q2FuYXJ5"
GIVEN_FOR_A_FILE = {
    "token": f"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.{CANARY}",
    "long token": f"eyJhbGciOiJFUzI1NiJ9.{CANARY * 50}.{CANARY}",
    "encrypted token": f"eyJhbGciOiJkaXIifQ..{CANARY}.{CANARY}.{CANARY}",
    "JWK": f'{{"kty":"oct","k":"{CANARY}"}}',
    "PEM": f"-----BEGIN PRIVATE KEY-----{CANARY}",
    "PEM of lines": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
    "line of a key file": f"valetkey-key-1 {CANARY}",
    "lines": f"one\n{CANARY}",
    "long word": CANARY * 26,
}
FILES_ARE_TAKEN_BY = (
    ("jwt", "verify", "--key", "{key}", "{}"),
    ("jwt", "verify", "--key", "{}", "{key}"),
    ("jwt", "verify", "--secret-file", "{}", "{key}"),
    ("jwt", "explain", "{}"),
    ("jwt", "sign", "--key", "{}"),
    ("jwt", "sign", "--secret-file", "{}"),
    ("key", "show", "{}"),
    ("key", "public", "{}"),
    ("app", "add", "a", "google", "--client-id", "me", "--private-key", "{}"),
    ("vault", "recover", "{}", "--key-file", "{key}.new"),
    ("connection", "list", "--vault", "{vault}", "--key-file", "{}"),
    ("audit", "verify", "--file", "{}", "--vault", "{vault}"),
    ("audit", "verify", "{}"),  # which takes none
    ("connection", "list", "--vault", "{}"),
    ("vault", "check", "--vault", "{}"),
    ("app", "add", "a", "google", "--client-id", "me", "--public", "--vault", "{key}/{}"),
    ("vault", "restore", "{}", "--vault", "{vault}"),
    ("vault", "backup", "{key}/{}", "--vault", "{vault}"),
    ("vault", "kit", "--out", "{key}/{}", "--vault", "{vault}"),
    ("audit", "export", "{key}/{}", "--vault", "{vault}"),
    ("key", "generate", "--out", "{key}/{}"),
    ("audit", "tail", "--vault", "{vault}", "--audit-log", "{key}/{}"),
)


@pytest.mark.parametrize("secret", GIVEN_FOR_A_FILE.values(), ids=GIVEN_FOR_A_FILE)
@pytest.mark.parametrize("words", FILES_ARE_TAKEN_BY, ids=" ".join)
def test_a_secret_given_for_a_file_is_not_shown(inside, tmp_path, words, secret):
    key, vault = str(tmp_path / "key"), str(tmp_path / "vault.db")
    assert inside("key", "generate", "--out", key).code == 0
    assert inside("vault", "init", "--vault", vault).code == 0
    given = [word.replace("{key}", key).replace("{vault}", vault).replace("{}", secret) for word in words]
    for form in ((), ("--json",)):
        done = inside(*given, *form)
        assert done.code not in {0, 1}
        assert CANARY not in done.out + done.err


def test_a_token_given_for_a_command_is_not_shown(inside):
    done = inside("connection", GIVEN_FOR_A_FILE["token"])
    assert (done.code, CANARY in done.err) == (2, False)


def test_who_gives_a_token_for_a_file_is_told_where_it_goes(inside):
    error = inside("jwt", "explain", GIVEN_FOR_A_FILE["token"], "--json").error
    assert error["message"] == "what was given cannot be read: No such file or directory"
    assert error["fix"] == "this takes the name of a file; give the token on standard input (-)"


@pytest.mark.parametrize("name", ["no/such file.jwt", "a.b.c", "eyJ.txt", "supersecretvalue123", "x" * 200])
def test_a_file_that_is_not_there_is_named(inside, name):
    error = inside("jwt", "explain", name, "--json").error
    assert error["message"] == f"{name} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "words",
    [
        ("connection", "list", "--vault", "{}"),
        ("token", "a/b", "--vault", "{}"),
        ("connection", "list", "--vault", "{vault}", "--key-file", "{}"),
        ("vault", "backup", "{}", "--vault", "{vault}"),
        ("vault", "rewrap", "--to", "file:{}", "--vault", "{vault}"),
        ("audit", "tail", "--vault", "{vault}", "--audit-log", "{}"),
        ("key", "generate", "--out", "{}"),
        ("jwt", "explain", "{}"),
    ],
    ids=" ".join,
)
def test_the_home_of_somebody_who_is_not_known_is_a_mistake(inside, tmp_path, words):
    vault = str(tmp_path / "vault.db")
    assert inside("vault", "init", "--vault", vault).code == 0
    done = inside(*(word.replace("{vault}", vault).replace("{}", "~nosuchuser/x") for word in words), "--json")
    assert (done.code, done.error["code"]) == (2, "invalid_input")
    assert "home folder is known" in done.error["message"]
    assert list(tmp_path.glob("*nosuchuser*")) == []

"""Fixes as the command line gives them: they name options, where the library's name arguments of Python."""

from __future__ import annotations

import re
from dataclasses import fields

import jwt as pyjwt
import pytest

from valetkey.cli import jwt
from valetkey.cli.wording import SENTENCES, SETTINGS, for_commands, option_of
from valetkey.jose import Policy
from valetkey.jose.reasons import KEY_REASONS, REASONS

PYTHON = re.compile(r"Policy\(|Key\.|RemoteKeys|KeySet|timedelta|=True|=…")

TEXTS = {**{name: reason.fix for name, reason in REASONS.items()}, **KEY_REASONS}

SECRET = "a-shared-secret-of-more-than-32-bytes-for-hs256"


@pytest.mark.parametrize("text", [*TEXTS.values(), *SENTENCES], ids=range(len(TEXTS) + len(SENTENCES)))
def test_no_fix_speaks_of_python(text):
    assert not PYTHON.search(for_commands(text))


def test_there_are_fixes_that_would():
    assert sum(bool(PYTHON.search(text)) for text in TEXTS.values()) > 10


def test_every_setting_is_in_the_table():
    others = {"allow_private", "allow_long_lifetime", "alg"}
    assert SETTINGS.keys() - others == {field.name for field in fields(Policy) if field.init}


def test_the_options_of_the_table_are_there():
    options = {name for command in (jwt.verify, jwt.sign) for param in command.params for name in param.opts}
    assert {option for option in SETTINGS.values() if option} <= options


def test_an_option_is_not_left_out_of_the_table():
    options = {name for param in jwt.verify.params for name in param.opts}
    for setting, option in SETTINGS.items():
        assert option or f"--{setting.replace('_', '-')}" not in options


@pytest.mark.parametrize(
    ("library", "command"),
    [
        (
            "compare Policy(issuer=…) with the token's iss, character by character",
            "compare --issuer with the token's iss, character by character",
        ),
        (
            "issue shorter tokens more often, or say allow_long_lifetime=True",
            "issue shorter tokens more often, or say --allow-long-lifetime",
        ),
        (
            "send the token as it was issued; if this issuer pads, say Policy(allow_padding=True)",
            "send the token as it was issued; if this issuer pads, say allow_padding, a setting of the library",
        ),
        ("say so as alg=…", "say so as --alg"),
        ("check the path and its permissions", "check the path and its permissions"),
    ],
)
def test_settings_are_named_by_their_options(library, command):
    assert for_commands(library) == command
    assert option_of("max_size") == "max_size, a setting of the library"


WANTED = ("--issuer", "https://auth.example", "--audience", "api")


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["people", "programs"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "--secret-file", "{secret}", *WANTED), "--leeway"),
        (("explain", "--secret-file", "{secret}", *WANTED), "--issuer"),
        (("verify", "--secret-file", "{secret}", "--audience", "api"), "--issuer https://… --audience …"),
        (("sign", "--secret-file", "{secret}", "--lifetime", "2h"), "--allow-long-lifetime"),
        (("sign", "--secret-file", "{secret}", "--claim", "iss=me"), "give it with that option"),
        (("verify", "--secret-file", "{secret}", *WANTED, "--max-age", "0"), "correct the option"),
    ],
)
def test_commands_speak_of_options(inside, tmp_path, words, said, json):
    (tmp_path / "secret").write_text(SECRET)
    token = pyjwt.encode({"iss": "https://other.example", "aud": "other", "exp": 1}, SECRET, "HS256")
    done = inside("jwt", *(word.format(secret=tmp_path / "secret") for word in words), *json, stdin=token)
    assert said in done.out + done.err
    assert not PYTHON.search(done.out + done.err)


def test_a_secret_that_has_no_public_half_says_what_to_do_instead(inside, tmp_path):
    assert inside("key", "generate", "--alg", "HS256", "--out", str(tmp_path / "key")).code == 0
    assert "or use ES256" in inside("key", "public", str(tmp_path / "key")).err
    assert "--format jwk" in inside("key", "generate", "--alg", "HS256", "--format", "pem").err

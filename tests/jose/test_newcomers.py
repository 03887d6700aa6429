"""What people bring along from other libraries is answered by what to do, and nothing that cannot be meant gets through.

What may not be here: tokens from outside (test_attacks_*.py).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from valetkey.errors import InvalidInput, KeyRefused, TokenRefused
from valetkey.jose import Key, KeySet, Policy, sign, sign_bytes, verify
from valetkey.jose.cache import Cache
from valetkey.tokens import Verifier

NOW = 1_790_000_000
KEY = Key.secret(bytes(range(64)))
POLICY = Policy(issuer="i", audience="a")


def policy(**changes):
    return Policy(**{"issuer": "i", "audience": "a", **changes})


def signed(**given):
    return sign(KEY, now=NOW, jti="j", **given)


MISTAKES = {
    "seconds for a leeway": (lambda: policy(leeway=10), "timedelta(seconds=10)"),
    "seconds for an age": (lambda: policy(max_age=60), "timedelta(seconds=60)"),
    "seconds for a lifetime": (lambda: policy(max_lifetime=60), "timedelta(seconds=60)"),
    "no leeway at all": (lambda: policy(leeway=None), "timedelta"),
    "a size as text": (lambda: policy(max_size="9"), ""),
    "a cache as text": (lambda: policy(cache="9"), ""),
    "no audience": (lambda: policy(audience=None), "audience="),
    "no scope": (lambda: policy(scope=None), "scope="),
    "a number as type": (lambda: policy(typ=7), "typ="),
    "a number as required": (lambda: policy(required=7), "required="),
    "a secret where a key belongs": (lambda: verify("a.b.c", "secret", POLICY, now=NOW), "Key.secret"),
    "a list of keys": (lambda: verify("a.b.c", [KEY], POLICY, now=NOW), "KeySet([…])"),
    "one key for a set": (lambda: KeySet(KEY), "KeySet([key"),
    "a document for a set": (lambda: KeySet({"keys": []}), "from_jwks"),
    "texts for a set": (lambda: KeySet(["secret"]), "from_pem"),
    "claims first": (lambda: sign({"sub": "x"}, now=NOW, jti="j"), "keyword"),
    "a secret to sign with": (lambda: sign("secret", now=NOW, jti="j"), "Key.secret"),
    "a secret to sign bytes with": (lambda: sign_bytes(b"x", "secret"), "Key.secret"),
    "seconds to live": (lambda: signed(lifetime=900), "timedelta"),
    "a number as audience": (lambda: signed(audience=7), ""),
    "numbers as audience": (lambda: signed(audience=[7]), ""),
    "an empty audience": (lambda: signed(audience=[]), ""),
    "numbers as scope": (lambda: signed(scope=[7]), ""),
    "a number as subject": (lambda: signed(issuer="i", subject=7, audience="a", scope="s"), "str(…)"),
    "a number as issuer": (lambda: signed(issuer=7), "str(…)"),
    "half a character": (lambda: signed(claims={"x": "\ud800"}), ""),
    "a verifier without keys": (lambda: Verifier(POLICY, "secret"), "RemoteKeys"),
    "a verifier the wrong way round": (lambda: Verifier(KEY, POLICY), "Policy"),
}


@pytest.mark.parametrize(("mistake", "fix"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_by_what_to_write_instead(mistake, fix):
    with pytest.raises(InvalidInput) as error:
        mistake()
    assert error.value.code == "config_error"
    assert fix in error.value.fix
    assert "secret" not in error.value.message


@pytest.mark.parametrize("load", [Key.secret, Key.from_pem])
@pytest.mark.parametrize("given", [40, None, [0] * 40])
def test_a_number_is_no_secret(load, given):
    # bytes(40) is forty zeros: a key that everybody knows.
    with pytest.raises(KeyRefused) as refusal:
        load(given)
    assert refusal.value.reason == "key_invalid"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_a_secret(kind):
    assert Key.secret(kind(bytes(range(64)))).thumbprint() == KEY.thumbprint()


def test_text_with_half_a_character_is_a_secret_like_any_other():
    with pytest.raises(TokenRefused):
        verify(signed(issuer="i", audience="a"), Key.secret("\ud800" * 20), POLICY, now=NOW)


@pytest.mark.parametrize("size", range(2, 12))
def test_a_memory_of_any_size_keeps_to_it(size):
    cache = Cache(size)
    for number in range(50):
        cache.put(str(number).encode(), (None, 0, 1, None))
        assert len(cache) <= size


def test_spans_of_time_are_taken_as_they_are():
    assert policy(leeway=timedelta(seconds=1.5), max_age=timedelta(hours=1), max_lifetime=None).late == 1.5

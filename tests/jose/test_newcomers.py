"""What people bring along from other libraries is answered by what to do, and nothing that cannot be meant gets through.

What may not be here: tokens from outside (test_attacks_*.py).
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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


KEY_MISTAKES = {
    "a short secret": lambda: Key.secret(b"x" * 16),
    "a small RSA key": lambda: Key.from_pem(_small_rsa()),
    "the public half to sign with": lambda: sign(_PAIR.public(), now=NOW, jti="j"),
    "the public half of a secret": KEY.public,
    "a secret among public keys": lambda: KeySet([KEY, _PAIR.public()]),
    "a public key for a secret": lambda: Key.secret(_PAIR.to_pem()),
    "a private key for a secret": lambda: Key.secret(_PAIR.to_pem(private=True)),
}

_PAIR = Key.generate("ES256")


def _small_rsa() -> bytes:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return small.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def runs(text: str) -> set[str]:
    """Return what three words stand beside each other in a text."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}


@pytest.mark.parametrize("mistake", KEY_MISTAKES)
def test_the_refusal_of_a_key_says_nothing_twice(mistake):
    with pytest.raises(KeyRefused) as caught:
        KEY_MISTAKES[mistake]()
    said = [caught.value.message, caught.value.cause, caught.value.fix]
    assert all(said[::2])
    for number, text in enumerate(said):
        assert [runs(text) & runs(other) for other in said[number + 1 :] if runs(text) & runs(other)] == []

"""The short way of `verify`, for a header that is known: it is taken, and it is as strict as the long one."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from valetkey.errors import TokenRefused
from valetkey.jose import Key, verify, verifying

NOW = 1_790_000_000


def longer_keys(forge):
    """Tokens and the key for 2056 bits: 257 bytes, whose base64url leaves another remainder than 256."""
    private = rsa.generate_private_key(65537, 2056)
    key = Key.from_pem(forge.public_pem(private), alg="RS256")
    return lambda payload: forge.rs256(payload, key=private), key


MAKERS = {
    "HS256": lambda f: (f.hs256, f.hs),
    "RS256": lambda f: (f.rs256, f.rs),
    "RS256 of 2056 bits": longer_keys,
    "ES256": lambda f: (f.es256, f.es),
    "EdDSA": lambda f: (f.eddsa_token, f.eddsa),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_known_header_is_not_read_again(forge, monkeypatch, maker):
    (make, key), policy = MAKERS[maker](forge), forge.policy(cache=False)
    verify(make(forge.payload()), key, policy, now=NOW)

    def long_way(*_):
        raise AssertionError("the header was read again")

    monkeypatch.setattr(verifying, "_read_anew", long_way)
    for fill in ("", "x", "xx", "a, b", ["x", 1, None], {"x": 1}):
        assert verify(make(forge.payload(fill=fill)), key, policy, now=NOW).subject == "ci"
    with pytest.raises(AssertionError, match="read again"):
        verify(make(forge.payload()), forge.keyset(key), policy, now=NOW)


def test_a_member_named_twice_stays_allowed_where_the_header_was_seen(forge):
    keys, policy = forge.keyset(), forge.policy(allow_duplicate_members=True, cache=False)
    for text in ("", '"sub":"first",', ""):
        token = forge.hs256("{" + text + json.dumps(forge.payload())[1:])
        assert verify(token, keys, policy, now=NOW).subject == "ci"


@pytest.mark.parametrize("known", [False, True], ids=["first", "known header"])
def test_what_only_calls_itself_text_is_no_token(forge, known):
    keys, policy, good = forge.keyset(), forge.policy(), forge.hs256()

    class Text(str):
        __slots__ = ()

        def encode(self, *_):
            return good.encode()

    class Bytes(bytes):
        __slots__ = ()

    if known:
        verify(good, keys, policy, now=NOW)
    for token in (Text(good), Text("x"), Bytes(good.encode()), bytearray(good.encode()), memoryview(good.encode())):
        with pytest.raises(TokenRefused) as refusal:
            verify(token, keys, policy, now=NOW)
        assert refusal.value.reason == "malformed_token"

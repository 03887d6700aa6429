"""Base64url: one spelling for each sequence of bytes, whichever of pybase64's two decoders is installed."""

import base64
from contextlib import suppress

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybase64 import _fallback

from valetkey.errors import TokenRefused
from valetkey.jose import wire

CHARACTERS = "ABab01-_+/= \n\0é"
DECODERS = {"compiled": pybase64.b64decode, "in Python": _fallback.b64decode}


@pytest.fixture(params=DECODERS)
def decoder(request, monkeypatch):
    monkeypatch.setattr(wire, "b64decode", DECODERS[request.param])


@given(st.binary(max_size=70))
def test_what_is_encoded_is_as_the_standard_library_says_and_is_decoded(data):
    segment = wire.encode(data)
    assert segment == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert wire.decode(segment, "payload") == data


@pytest.mark.parametrize("name", DECODERS)
@given(text=st.text(CHARACTERS, max_size=9))
def test_what_is_decoded_has_that_one_spelling(name, text):
    segment = text.encode("latin-1")
    with pytest.MonkeyPatch.context() as patch, suppress(TokenRefused):
        patch.setattr(wire, "b64decode", DECODERS[name])
        data = wire.decode(segment, "payload")
        assert base64.urlsafe_b64encode(data).rstrip(b"=") == segment


@pytest.mark.parametrize(("before", "last"), [(b"A", b"AQgw"), (b"AA", b"AEIMQUYcgkosw048")])
def test_the_last_character_leaves_no_unused_bit_set(decoder, before, last):
    # RFC 4648 section 3.5: two of the last six bits are used, or four.
    taken = set()
    for byte in range(256):
        with suppress(TokenRefused):
            wire.decode(before + bytes([byte]), "payload")
            taken.add(byte)
    assert taken == set(last)


@pytest.mark.parametrize(
    "segment",
    [
        b"A",
        b"AAAAA",
        b"AA=",
        b"AA==",
        b"AAA=",
        b"AAAA=",
        b"AAAA====",
        b"A=AA",
        b"AAAA\n",
        b" AAA",
        b"A A",
        b"AA+A",
        b"AA/A",
        b"AB",
        b"AAB",
        b"Zg\0",
        b"AAA\xff",
        b"=",
        b"====",
        b"AA.A",
        b"A" * 64 + b"=",
    ],
)
def test_every_other_spelling_is_refused(decoder, segment):
    with pytest.raises(TokenRefused) as refusal:
        wire.decode(segment, "payload")
    assert refusal.value.reason == "malformed_base64url"

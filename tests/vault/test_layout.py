"""The head of a stored connection: a fresh token is found there without a decoder, and nothing else is."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.vault.layout import fresh_token, head_of

TOKEN = "access-1"
UNTIL = 1_772_366_400.0


def stored(head, body=b"the record", version=1):
    return struct.pack(">BH", version, len(head)) + head + body


def test_the_layout_is_as_documented():
    # version (1) | length of the head (2) | until when (8, double) | token
    head = struct.pack(">d", UNTIL) + b"access-1"
    assert head_of(TOKEN, UNTIL) == head
    assert fresh_token(b"\x01\x00\x10" + head + b"the record", UNTIL - 1) == TOKEN


@pytest.mark.parametrize(("moment", "given_out"), [(0.0, True), (math.nextafter(UNTIL, 0), True), (UNTIL, False)])
def test_a_token_is_given_out_before_the_instant_and_not_at_it(moment, given_out):
    assert fresh_token(stored(head_of(TOKEN, UNTIL)), moment) == (TOKEN if given_out else "")


def test_a_token_without_an_end_is_always_fresh():
    assert fresh_token(stored(head_of(TOKEN, math.inf)), 1e300) == TOKEN


@pytest.mark.parametrize("head", [b"", b"\0" * 7, struct.pack(">d", math.inf)])
def test_a_record_without_a_token_in_its_head_has_none_to_give(head):
    assert fresh_token(stored(head), 0.0) == ""


def test_a_record_of_another_version_is_left_to_the_long_way():
    for version in (0, 2, 255):
        assert fresh_token(stored(head_of(TOKEN, UNTIL), version=version), 0.0) == ""


@pytest.mark.parametrize(("length", "fits"), [(0xFFFF - 8, True), (0xFFFF - 7, False), (1 << 20, False)])
def test_a_token_too_long_for_the_head_is_left_to_the_long_way(length, fits):
    head = head_of("x" * length, UNTIL)
    assert bool(head) is fits
    assert fresh_token(stored(head), 0.0) == ("x" * length if fits else "")


def test_an_end_that_is_no_number_gives_nothing():
    assert fresh_token(stored(head_of(TOKEN, math.nan)), 0.0) == ""


@given(token=st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=3000))
def test_every_token_comes_back_as_it_was(token):
    assert fresh_token(stored(head_of(token, UNTIL)), 0.0) == token


@given(bytes_=st.binary(max_size=40), moment=st.floats(allow_nan=False))
def test_garbage_gives_nothing_or_a_text_and_never_raises_but_for_bad_utf8(bytes_, moment):
    try:
        assert isinstance(fresh_token(bytes_, moment), str)
    except UnicodeDecodeError:
        assert bytes_[0] == 1  # a ValueError, which quick.py takes for "look closer"

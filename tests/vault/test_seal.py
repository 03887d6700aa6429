"""Sealed boxes: they open under their own name with their own key, whole and unchanged, or not at all."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import VaultDamaged, VaultError, VaultUnreadable
from valetkey.vault.keyring import Keyring
from valetkey.vault.seal import FORMAT, NONCE_BYTES, Sealer

KEY_ID, KEY = b"\1\2\3\4", bytes(range(32))
SEALER = Sealer({KEY_ID: KEY}, KEY_ID)
NAME = "connection/acme/alice"


@given(name=st.text(), plain=st.binary(max_size=4096))
def test_what_was_sealed_opens(name, plain):
    name = name.encode("utf-8", "replace").decode()
    assert SEALER.open(name, SEALER.seal(name, plain)) == plain


def test_a_box_is_laid_out_as_documented():
    # format (1) | key id (4) | nonce (12) | ciphertext and tag; associated data = format | key id | name
    nonce = bytes(12)
    written = b"\1" + KEY_ID + nonce + AESGCM(KEY).encrypt(nonce, b"plain", b"\1" + KEY_ID + NAME.encode())
    assert SEALER.open(NAME, written) == b"plain"
    sealed = SEALER.seal(NAME, b"plain")
    assert sealed[:5] == b"\1" + KEY_ID
    assert len(sealed) == 1 + 4 + 12 + len(b"plain") + 16


def test_a_box_with_any_byte_changed_is_refused():
    box = SEALER.seal(NAME, b"a plain text of some length")
    for place in range(len(box)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(box)
            changed[place] ^= flip
            # A higher first byte says that a later valetkey wrote it, which is refused too.
            kind = VaultUnreadable if place == 0 and changed[0] > FORMAT else VaultDamaged
            with pytest.raises(kind) as refusal:
                SEALER.open(NAME, bytes(changed))
            assert NAME in str(refusal.value)


def test_a_box_cut_anywhere_or_grown_is_refused():
    box = SEALER.seal(NAME, b"plain")
    for length in range(len(box)):
        with pytest.raises(VaultDamaged):
            SEALER.open(NAME, box[:length])
    with pytest.raises(VaultDamaged):
        SEALER.open(NAME, box + b"\0")


@pytest.mark.parametrize(
    "other", ["connection/acme/bob", "connection/acme/alicE", "app/acme", "", NAME + "\0", "\0" + NAME]
)
def test_a_box_moved_to_another_record_is_refused(other):
    with pytest.raises(VaultDamaged) as refusal:
        SEALER.open(other, SEALER.seal(NAME, b"plain"))
    assert "moved here" in refusal.value.cause


def test_a_box_of_another_vault_is_refused():
    other = Keyring.create(0.0).sealer()
    with pytest.raises(VaultDamaged) as refusal:
        SEALER.open(NAME, other.seal(NAME, b"plain"))
    assert "another vault" in refusal.value.cause


def test_a_box_of_another_key_with_the_same_id_is_refused():
    with pytest.raises(VaultDamaged):
        SEALER.open(NAME, Sealer({KEY_ID: bytes(32)}, KEY_ID).seal(NAME, b"plain"))


def test_a_box_of_a_later_format_says_to_update():
    with pytest.raises(VaultUnreadable) as refusal:
        SEALER.open(NAME, bytes((FORMAT + 1,)) + SEALER.seal(NAME, b"plain")[1:])
    assert "newest valetkey" in refusal.value.fix


@given(box=st.binary(max_size=100))
def test_garbage_is_refused_as_a_vault_error(box):
    with pytest.raises(VaultError):
        SEALER.open(NAME, box)


def test_an_older_key_still_opens_what_it_sealed_and_the_current_one_seals():
    old = SEALER.seal(NAME, b"sealed before")
    both = Sealer({KEY_ID: KEY, b"\5\6\7\x08": os.urandom(32)}, b"\5\6\7\x08")
    assert both.open(NAME, old) == b"sealed before"
    assert both.seal(NAME, b"")[1:5] == b"\5\6\7\x08"


def test_no_nonce_comes_twice_in_ten_thousand_boxes():
    nonces = {SEALER.seal(NAME, b"")[5 : 5 + NONCE_BYTES] for _ in range(10_000)}
    assert len(nonces) == 10_000


def test_repr_shows_no_key():
    assert repr(SEALER) == "<Sealer, 1 keys>"

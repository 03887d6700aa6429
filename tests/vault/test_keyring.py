"""The keyring: a wrong key is told from a damaged vault, and neither opens anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import VaultDamaged, VaultError, VaultUnreadable, WrongKey
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring

KEK = KeyFile(bytes(range(32)), "/srv/alice/vault.key")
OTHER = KeyFile(bytes(32), "/srv/alice/other.key")
RING = Keyring.create(1234.5)
STORED = RING.wrapped(KEK)


def test_a_keyring_comes_back_as_it_was():
    again = Keyring.unwrapped(STORED, KEK)
    assert again.vault_id == RING.vault_id
    assert again.current == RING.current
    assert again.sealer().open("a", RING.sealer().seal("a", b"plain")) == b"plain"
    assert RING.sealer().open("a", again.sealer().seal("a", b"plain")) == b"plain"


def test_a_keyring_of_several_keys_comes_back_with_all():
    keys = [(bytes((n,)) * 4, bytes((n,)) * 32, float(n)) for n in range(3)]
    again = Keyring.unwrapped(Keyring(b"vault-id", keys[1][0], keys).wrapped(KEK), KEK)
    sealed = [Keyring(b"vault-id", key[0], [key]).sealer().seal("a", b"plain") for key in keys]
    assert [again.sealer().open("a", box) for box in sealed] == [b"plain"] * 3
    assert again.sealer().current == b"\1" * 4


def test_another_key_is_called_wrong_and_named_by_its_fingerprint():
    with pytest.raises(WrongKey) as refusal:
        Keyring.unwrapped(STORED, OTHER)
    told = refusal.value.explain()
    assert "/srv/alice/other.key" in told
    assert KEK.key_id.hex() in told
    assert OTHER.key_id.hex() in told
    assert "nothing was changed" in told


def test_a_keyring_with_any_byte_changed_does_not_open():
    for place in range(len(STORED)):
        changed = bytearray(STORED)
        changed[place] ^= 0x80
        # version | vault id | id of the key: the first is read, the last compared, all else is authenticated
        kind = VaultUnreadable if place == 0 else WrongKey if 9 <= place < 17 else VaultDamaged
        with pytest.raises(kind):
            Keyring.unwrapped(bytes(changed), KEK)


def test_a_damaged_keyring_is_not_blamed_on_the_key():
    with pytest.raises(VaultDamaged, match="is the right one, but the keyring does not open"):
        Keyring.unwrapped(STORED[:-1] + bytes((STORED[-1] ^ 1,)), KEK)


def test_a_keyring_cut_anywhere_is_refused():
    for length in range(len(STORED)):
        with pytest.raises(VaultDamaged):
            Keyring.unwrapped(STORED[:length], KEK)


def test_a_keyring_of_another_vault_under_the_same_key_does_not_open_with_this_ones_head():
    other = Keyring.create(0.0).wrapped(KEK)
    with pytest.raises(VaultDamaged):
        Keyring.unwrapped(STORED[:17] + other[17:], KEK)


def test_a_later_version_says_to_update():
    with pytest.raises(VaultUnreadable) as refusal:
        Keyring.unwrapped(b"\3" + STORED[1:], KEK)
    assert "newest valetkey" in refusal.value.fix


@pytest.mark.parametrize("plain", [b"", b"abc", b"\0" * 4 + b"\0" * 43, b"\0" * 47])
def test_wrapped_bytes_that_are_no_keyring_are_called_damaged(plain):
    head = STORED[:17]
    wrapped = head + KEK.wrap(plain, b"valetkey keyring\0" + RING.vault_id)
    with pytest.raises(VaultDamaged):
        Keyring.unwrapped(wrapped, KEK)


@given(stored=st.binary(max_size=200))
def test_garbage_is_refused_as_a_vault_error(stored):
    with pytest.raises(VaultError):
        Keyring.unwrapped(stored, KEK)


def test_two_vaults_share_neither_id_nor_keys():
    first, second = Keyring.create(0.0), Keyring.create(0.0)
    assert first.vault_id != second.vault_id
    assert first.sealer().seal("a", b"")[1:5] != second.sealer().seal("a", b"")[1:5]


def test_repr_shows_no_key():
    shown = repr(RING)
    assert shown == f"<Keyring of vault {RING.vault_id.hex()}, 1 keys>"

"""Data keys that change while processes run: each learns of them in time, and none writes what others cannot open."""

from __future__ import annotations

import logging

import pytest

from valetkey.errors import StoreUnavailable, VaultDamaged
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import LOOK_SECONDS, KeyedStore, LiveKeys
from valetkey.vault.seal import key_id_of
from valetkey.vault.stores.memory import MemoryStore
from vaultprocs import forked

KEK = KeyFile(bytes(range(32)), "/srv/alice/vault.key")
OTHER = KeyFile(bytes(32), "/srv/alice/other.key")


class Ticking:
    """A clock that moves when it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Process:
    """One process that has the vault open."""

    def __init__(self, store, tick, kek=KEK, again=None):
        entry = store.load(names.KEYRING)
        self.keys = LiveKeys(
            store, Keyring.unwrapped(entry.box, kek), kek, again=again, tick=tick, clock=lambda: 1_000.0
        )
        self.store = KeyedStore(store, self.keys)

    def put(self, name, plain):
        held = self.store.load(name)
        return self.store.swap(name, held.version if held else 0, Entry("x", self.keys.sealer.seal(name, plain)))

    def get(self, name):
        return self.keys.sealer.open(name, self.store.load(name).box)


@pytest.fixture
def tick():
    return Ticking()


@pytest.fixture
def store():
    made = MemoryStore()
    assert made.swap(names.KEYRING, 0, Entry("keyring", Keyring.create(1.0).wrapped(KEK)))
    return made


@pytest.fixture
def two(store, tick):
    return Process(store, tick), Process(store, tick)


def test_a_process_opens_at_once_what_another_sealed_with_a_key_it_does_not_know(two):
    one, other = two
    made = one.keys.renew()
    one.put("a", b"plain")
    assert key_id_of(one.store.load("a").box) == made
    assert other.get("a") == b"plain"
    other.put("a", b"more")
    assert key_id_of(other.store.load("a").box) == made
    assert one.get("a") == b"more"


def test_what_was_sealed_with_an_older_key_is_written_with_the_new_one_within_a_minute(two, tick):
    one, other = two
    old = other.keys.sealer.current
    made = one.keys.renew()
    tick.now = LOOK_SECONDS - 0.001
    other.put("a", b"before the minute is over")
    assert key_id_of(one.store.load("a").box) == old
    late = Entry("x", other.keys.sealer.seal("b", b"sealed before, written after"))
    tick.now = LOOK_SECONDS
    assert other.store.swap("b", 0, late)
    assert key_id_of(one.store.load("b").box) == made
    assert (one.get("a"), one.get("b")) == (b"before the minute is over", b"sealed before, written after")


def test_what_was_sealed_with_a_key_that_is_retired_meanwhile_is_written_with_the_new_one(two, store, tick):
    one, other = two
    late = Entry("x", other.keys.sealer.seal("b", b"a process stood still"))
    old = other.keys.sealer.current
    one.keys.renew()
    one.keys.retire([old])
    tick.now = 10 * LOOK_SECONDS
    assert other.store.swap("b", 0, late)
    assert Process(store, tick).get("b") == b"a process stood still"


def test_what_is_put_back_from_before_a_key_was_retired_is_refused(two, store, tick):
    one, _ = two
    one.put("a", b"the older token")
    stolen = store.load("a")
    old = one.keys.sealer.current
    one.keys.renew()
    one.put("a", b"the newer token")
    one.keys.retire([old])
    assert store.swap("a", store.load("a").version, stolen)
    for process in (one, Process(store, tick)):
        with pytest.raises(VaultDamaged) as refusal:
            process.get("a")
        assert "retired" in refusal.value.cause


def test_a_worn_key_is_replaced_at_the_next_write_by_one_of_all_processes(two, store):
    one, other = two
    old, heard = one.keys.sealer.current, []
    one.keys.tell = other.keys.tell = heard.append
    one.keys.sealer.worn = other.keys.sealer.worn = old
    one.put("a", b"1")
    other.put("b", b"2")
    ring = Keyring.unwrapped(store.load(names.KEYRING).box, KEK)
    assert len(ring.made) == 2
    assert ring.current != old
    assert {key_id_of(store.load(name).box) for name in "ab"} == {ring.current}
    assert [(event.kind, event.reason) for event in heard] == [("vault.key_made", "worn")]
    assert one.keys.sealer.worn == other.keys.sealer.worn == b""


def test_one_nonce_in_134_million_says_that_a_key_is_worn(two, monkeypatch):
    sealer = two[0].keys.sealer
    for nonce, worn in (
        (bytes.fromhex("0000002000000000000000ff"), b""),
        (bytes.fromhex("0000001fffffffffffffffff"), sealer.current),
    ):
        monkeypatch.setattr("valetkey.vault.seal.os.urandom", lambda size, nonce=nonce: nonce[:size])
        sealer.seal("a", b"plain")
        assert sealer.worn == worn
    assert 0x20 / 2**32 == 2**-27


class Refusing:
    """A store whose keyring cannot be written."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def swap(self, name, seen, entry):
        if name == names.KEYRING:
            raise StoreUnavailable("read only")
        return self._store.swap(name, seen, entry)


def test_where_no_new_key_can_be_made_the_worn_one_is_used_and_it_is_tried_again(store, tick, caplog):
    process = Process(Refusing(store), tick)
    process.keys.sealer.worn = old = process.keys.sealer.current
    with caplog.at_level(logging.WARNING):
        assert process.put("a", b"plain")
    assert f"data key {old.hex()} is worn" in caplog.text
    assert process.keys.sealer.worn == old


# ── a process that cannot open the keyring any more ──────────────────────────────────────────────────────────────


def rewrapped(store, kek=OTHER):
    held = store.load(names.KEYRING)
    ring = Keyring.unwrapped(held.box, KEK)
    assert store.swap(names.KEYRING, held.version, Entry("keyring", ring.wrapped(kek)))


def test_a_process_goes_on_after_a_rewrap_with_the_data_keys_it_has(two, store, tick):
    one, _ = two
    rewrapped(store)
    tick.now = LOOK_SECONDS
    assert one.put("a", b"plain")
    assert Process(store, tick, OTHER).get("a") == b"plain"


def test_a_process_that_can_come_by_the_new_key_does(store, tick):
    asked = []

    def again(box):
        asked.append(box)
        return OTHER

    one = Process(store, tick, again=again)
    rewrapped(store)
    made = Process(store, tick, OTHER).keys.renew()
    tick.now = LOOK_SECONDS
    assert one.put("a", b"plain")
    assert key_id_of(store.load("a").box) == made
    assert asked == [store.load(names.KEYRING).box]


def test_a_process_without_the_new_keys_writes_nothing_once_the_vault_is_resealed(two, store, tick, caplog):
    one, _ = two
    one.put("mine", b"plain")
    rewrapped(store)
    new = Process(store, tick, OTHER)
    new.keys.renew()
    new.put(names.RESEAL, b"a reseal has begun")
    new.put("a", b"theirs")
    held = store.load("mine")
    with pytest.raises(StoreUnavailable, match="keys of this vault were changed") as refusal:
        one.get("a")
    assert "start it anew" in refusal.value.fix
    tick.now = LOOK_SECONDS
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="keys of this vault were changed"):
                one.store.swap("mine", held.version, Entry("x", one.keys.sealer.seal("mine", b"late")))
    assert "cannot open it" in caplog.text
    assert one.get("mine") == b"plain"
    assert store.load("mine") == held


def test_a_keyring_that_is_gone_does_not_stop_who_has_the_vault_open(two, store, tick):
    one, _ = two
    one.put("mine", b"plain")
    assert store.swap(names.KEYRING, 1, None)
    tick.now = LOOK_SECONDS
    assert one.put("mine", b"more")
    assert one.get("mine") == b"more"
    with pytest.raises(VaultDamaged, match="keyring of this vault is gone"):
        one.keys.renew()


def test_a_forked_child_does_not_wait_for_a_thread_that_only_its_parent_has(two, tick):
    one, other = two
    made = other.keys.renew()
    other.put("a", b"plain")

    def child():
        tick.now = 2 * LOOK_SECONDS
        return one.get("a") == b"plain" and one.put("b", b"more") and key_id_of(one.store.load("b").box) == made

    with one.keys._lock:
        assert forked(child) == "True"


def test_nothing_secret_is_in_the_repr(two, canary):
    one, _ = two
    del canary
    shown = f"{one.store!r} {one.keys!r} {one.keys.sealer!r}"
    assert bytes(range(32)).hex() not in shown
    assert "AESGCM" not in shown

"""The data keys while a process runs: learned anew where another process has made one, and never used when outdated.

Nobody knows which processes have a vault open, so none is told of a new key. Instead

- who meets a box whose key it does not know looks at the keyring again;
- who is about to write, and has not looked for LOOK_SECONDS, looks first; and what was sealed with an older key is
  sealed anew with the current one. So an hour after a key was made, nobody writes with the ones before (reseal.py).

A process that cannot open the keyring any more, because its key-encryption key was changed, goes on with the data keys
it has; until they were resealed, which a record sealed with a key it does not know tells it. Then it writes no more.

What may not be here: going through all records, and how the key-encryption key is kept.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from valetkey.audit.ledger import Ledger
from valetkey.effects import Event
from valetkey.errors import StoreUnavailable, ValetkeyError, VaultDamaged
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.keyring import Head, KeyEncryptionKey, Keyring
from valetkey.vault.seal import Sealer
from valetkey.vault.stores.base import Store

LOOK_SECONDS: Final = 60.0
"""How old what is known of the keyring may be when something is written: one small read a minute, at most."""

ATTEMPTS: Final = 5

log: Final = logging.getLogger("valetkey.vault")


class LiveKeys:
    """Keep a sealer in step with the keyring in the store.

    `kek` opens the keyring as it is; `again` comes by the key of one that was rewrapped since, or raises; `tell` is
    told of a key that was made because the one before was worn.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        kek: KeyEncryptionKey,
        *,
        again: Callable[[bytes], KeyEncryptionKey] | None = None,
        sealer: Sealer | None = None,
        tick: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sealer: Sealer = sealer or keyring.sealer()
        self.tell: Callable[[Event], None] = lambda _event: None
        self._store = store
        self.vault_id = keyring.vault_id
        self._kek = kek
        self._again = again
        self._tick = tick
        self._clock = clock
        self._box = b""
        self._keyring = keyring
        self._looked = tick()
        self._lock, self._process = threading.Lock(), os.getpid()

    def known(self, entry: Entry | None) -> Entry | None:
        """Return an entry, its key known if it is one of this vault's; raises StoreUnavailable."""
        if entry is not None and not self.sealer.knows(entry.box):
            with self._turn():
                if not self.sealer.knows(entry.box) and not self._look():
                    raise _outdated()
        return entry

    def current(self, name: str, entry: Entry) -> Entry:
        """Return what is to be written, sealed with the current key; raises StoreUnavailable."""
        if self._tick() - self._looked >= LOOK_SECONDS or self.sealer.worn:
            self._keep_up()
        if not self.sealer.is_outdated(entry.box):
            return entry
        return replace(entry, box=self.sealer.sealed_anew(name, entry.box))

    def renew(self, worn: bytes = b"") -> bytes:
        """Make a new data key, in the keyring and here, and return its id; by one write of the store.

        With `worn`, only where that is still the current one. Raises StoreUnavailable and the VaultErrors.
        """
        return self._renewed(worn)[0].current

    def _turn(self) -> threading.Lock:
        """Return the lock; in a forked child a new one, because a thread of the parent may have held the old."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock

    def _renewed(self, worn: bytes) -> tuple[Keyring, bool]:
        return self._changed(
            lambda keyring: keyring.with_new_key(self._clock()) if worn in {b"", keyring.current} else keyring
        )

    def retire(self, old: Collection[bytes]) -> None:
        """Take keys out of the keyring, by one write of the store; raises StoreUnavailable and the VaultErrors."""
        self._changed(lambda keyring: keyring.without(old))

    def look(self) -> Keyring:
        """Return the keyring as it is now; raises StoreUnavailable and the VaultErrors."""
        with self._turn():
            return self._read()[1]

    def _changed(self, change: Callable[[Keyring], Keyring]) -> tuple[Keyring, bool]:
        """Write a changed keyring, and return it; False: there was nothing to change."""
        with self._turn():
            for _ in range(ATTEMPTS):
                entry, before = self._read()
                keyring = change(before)
                if keyring is before:
                    return before, False
                box = keyring.wrapped(self._kek)
                if self._store.swap(names.KEYRING, entry.version, replace(entry, box=box)):
                    self._learn(box, keyring)
                    return keyring, True
        raise StoreUnavailable("others keep changing the keyring", fix="try again; nothing was changed")

    def _keep_up(self) -> None:
        with self._turn():
            if self._tick() - self._looked >= LOOK_SECONDS and not self._look():
                resealed = self._store.load(names.RESEAL)
                if resealed is not None and not self.sealer.knows(resealed.box):
                    self._looked = float("-inf")  # whoever comes next looks again
                    raise _outdated()
        worn, self.sealer.worn = self.sealer.worn, b""
        if not worn:
            return
        try:
            keyring, made = self._renewed(worn)
        except ValetkeyError as refusal:
            self.sealer.worn = worn
            log.warning("data key %s is worn, and no new one can be made: %s", worn.hex(), refusal.message)
            return
        if made:
            told = {"key": keyring.current.hex(), "after": worn.hex()}
            self.tell(Event("vault.key_made", "vault", reason="worn", detail=told))

    def _look(self) -> bool:
        """Read the keyring again, and say whether it opens; where it does not, what was known stays."""
        try:
            self._read()
        except StoreUnavailable:
            raise
        except ValetkeyError as refusal:
            log.warning("the keyring was changed, and this process cannot open it: %s", refusal.message)
            return False
        finally:
            self._looked = self._tick()
        return True

    def _read(self) -> tuple[Entry, Keyring]:
        entry = self._store.load(names.KEYRING)
        if entry is None or Head.of(entry.box).vault_id != self.vault_id:
            raise VaultDamaged("the keyring of this vault is gone", fix="restore the vault from a backup")
        if entry.box == self._box:
            return entry, self._keyring
        head = Head.of(entry.box)
        if head.kek_id != self._kek.key_id and self._again is not None:  # compared: fingerprints, in the clear
            self._kek = self._again(entry.box)
        keyring = Keyring.unwrapped(entry.box, self._kek)
        self._learn(entry.box, keyring)
        return entry, keyring

    def _learn(self, box: bytes, keyring: Keyring) -> None:
        self._box, self._keyring = box, keyring
        keyring.teach(self.sealer)


class KeyedStore:
    """Be a store whose entries are opened and sealed with keys that are up to date."""

    def __init__(self, store: Store, keys: LiveKeys) -> None:
        self.keys = keys
        self._store = store
        self.names = store.names
        self.due = store.due
        self.count = store.count
        self.close = store.close

    @property
    def ledger(self) -> Ledger:
        """Return where the audit log is kept."""
        return self._store.ledger

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now, its key known."""
        entry = self._store.load(name)
        return entry if name == names.KEYRING else self.keys.known(entry)

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Compare and set, with the current key."""
        if entry is not None and name != names.KEYRING:
            entry = self.keys.current(name, entry)
        return self._store.swap(name, seen, entry)

    def __repr__(self) -> str:
        return repr(self._store)


def _outdated() -> StoreUnavailable:
    # Of this sort, so that a plan with an answer in its hands keeps it beside the store (saving.py).
    return StoreUnavailable(
        "the keys of this vault were changed while this process ran",
        cause="its key-encryption key was changed, then its records were sealed anew, and this process has only the "
        "keys it began with",
        fix="start it anew, with the key of now; nothing was changed",
    )

"""The audit log of a vault: its key, which is sealed in the vault, and who writes.

The key is made with the first line that is written, so that looking at a vault writes nothing.
"""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from valetkey.audit.chain import SEED_BYTES, ChainKey
from valetkey.audit.ledger import ROSTER
from valetkey.audit.mirror import AuditLog, mirror_to
from valetkey.audit.recorder import Recorder
from valetkey.errors import StoreUnavailable, VaultDamaged
from valetkey.values import Entry, Secret
from valetkey.vault import names
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import KeyedStore
from valetkey.vault.records import from_bytes, stored_as, to_bytes
from valetkey.vault.seal import Sealer
from valetkey.vault.stores.base import Store
from valetkey.vault.taken import Spool

if TYPE_CHECKING:
    from valetkey.audit.verifying import Known

ATTEMPTS = 10


@stored_as
class AuditKeys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the secrets of the audit log, in hexadecimal.

    `begun`: a roster was there, so there must be one. `chained_only`: no line was there before these keys.
    """

    signing: Secret
    tagging: Secret
    begun: bool = False
    chained_only: bool = False


class Keyholder:
    """Give the key of a vault's audit log; made when it is needed first, by one of all processes."""

    def __init__(self, store: Store, sealer: Sealer, vault_id: bytes) -> None:
        self._store = store
        self._sealer = sealer
        self._vault_id = vault_id
        self._held: ChainKey | None = None
        self._begun = False
        self._lock = threading.Lock()

    def key(self) -> ChainKey:
        """Return the key, to write with; raises StoreUnavailable or VaultDamaged."""
        if self._held is None or not self._begun:
            with self._lock:
                self._writable()
        assert self._held is not None  # _writable has just seen to it
        return self._held

    def known(self) -> Known:
        """Return what is known of the log, to look at it with; writes nothing."""
        from valetkey.audit.verifying import Known  # late: few programs prove their log

        keys = self._load()[1]
        return Known(None) if keys is None else Known(self._opened(keys), keys.begun, keys.chained_only)

    def _writable(self) -> None:
        for _ in range(ATTEMPTS):
            version, keys = self._load()
            if keys is None:
                self._refuse_another()
                none_older = not self._store.ledger.unchained(None, 1)
                drawn = AuditKeys(signing=_drawn(), tagging=_drawn(), chained_only=none_older)
                self._save(0, drawn)
                continue
            roster = self._store.ledger.head(ROSTER)
            if keys.begun and roster is None:
                raise VaultDamaged(
                    "the audit log's roster is gone",
                    cause="somebody deleted it from the database",
                    fix="restore the vault from a backup",
                )
            self._begun = keys.begun
            if not keys.begun and roster is not None:
                with suppress(StoreUnavailable):  # a vault that was moved: nothing of it changes any more
                    self._begun = self._save(version, msgspec.structs.replace(keys, begun=True))
            self._held = self._held or self._opened(keys)
            return
        raise StoreUnavailable("the key of the audit log cannot be made", fix="try again")

    def _refuse_another(self) -> None:
        """Make no second key for a log that was begun under one; raises VaultDamaged."""
        if self._store.ledger.head(ROSTER) is not None and self._load()[1] is None:
            raise VaultDamaged(
                "the audit log's key is gone",
                cause="somebody deleted it from the database",
                fix="restore the vault from a backup",
            )

    def _load(self) -> tuple[int, AuditKeys | None]:
        entry = self._store.load(names.AUDIT_KEY)
        if entry is None:
            return 0, None
        plain = self._sealer.open(names.AUDIT_KEY, entry.box)
        return entry.version, from_bytes(AuditKeys, names.AUDIT_KEY, plain)

    def _save(self, seen: int, keys: AuditKeys) -> bool:
        box = self._sealer.seal(names.AUDIT_KEY, to_bytes(keys))
        return self._store.swap(names.AUDIT_KEY, seen, Entry("audit", box))

    def _opened(self, keys: AuditKeys) -> ChainKey:
        return ChainKey(self._vault_id, keys.signing, keys.tagging)


def recorder_of(
    store: Store,
    keyring: Keyring,
    *,
    actor: str,
    sealer: Sealer | None = None,
    copy_to: AuditLog = None,
    spool_of: Path | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Recorder:
    """Return what writes the audit log of a vault, for one face of it (cli, library, server); raises InvalidInput.

    `copy_to` is a file where each line is written too, or `-` for standard output (default: VALETKEY_AUDIT_LOG).
    `spool_of` is the vault's file, whose spool is taken in.
    """
    mirror = mirror_to(copy_to)
    sealer = sealer or keyring.sealer()
    holder = Keyholder(store, sealer, keyring.vault_id)
    recorder = Recorder(store.ledger, holder.key, clock=clock, actor=f"{actor}:{user()}")
    if mirror is not None:
        recorder.mirror(mirror)
    if spool_of is not None:
        known = store.keys.known if isinstance(store, KeyedStore) else None
        recorder.also(Spool(spool_of, sealer, user, known))
    return recorder


def user(number: int | None = None) -> str:
    """Return the operating system's name of who runs this, or has a number; containers often have none.

    By the user id and not by the environment, in which anybody can call himself anything.
    """
    try:
        import pwd
    except ImportError:
        with suppress(ImportError, KeyError, OSError):
            return getpass.getuser()
        return "unknown"
    number = os.getuid() if number is None else number
    with suppress(KeyError, OverflowError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _drawn() -> Secret:
    return Secret(os.urandom(SEED_BYTES).hex())

"""Moving a vault to another place: file to database, database to file, file to file.

Boxes are copied as they are, sealed, with their versions, the keyring and the audit log. Most is copied while the vault
is in use; then it is frozen, what changed meanwhile is copied, and everything is opened and compared. A copy that ended
half way goes on where it ended: versions say what is still to be done.

There is no copying without moving: two vaults that renew the same refresh tokens end the grants of every provider that
punishes reuse. For a copy to keep, there is backup.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from valetkey.audit.mirror import AuditLog
from valetkey.audit.recorder import Recorder
from valetkey.effects import Event
from valetkey.errors import AlreadyExists, InvalidInput, VaultDamaged, VaultMissing
from valetkey.vault import names
from valetkey.vault.auditing import recorder_of
from valetkey.vault.desk import Desk
from valetkey.vault.keks.giving import Given, GivenKey, kek_of
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import KeyedStore, LiveKeys
from valetkey.vault.opening import make_folder
from valetkey.vault.places import COPYING, MOVED, MOVING, USED, Place, refuse_unused
from valetkey.vault.records import Connection, from_bytes
from valetkey.vault.recover import bring_home
from valetkey.vault.saving import SAVE_DELAYS
from valetkey.vault.seal import Sealer
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.bulk import KEYRING, PAGE, Bulk, bulk_of
from valetkey.vault.stores.rows import Row
from valetkey.vault.world import Sender, VaultWorld

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how many records it is done for, and for how many it will be."""

NAMED: Final = 5  # damaged records that a message names; a person looks at the first and not at the thousandth


@dataclass(frozen=True)
class Copied:
    """Say what a copy did: records and audit lines in the target, records written by this run, its key file."""

    records: int
    lines: int
    written: int
    key_file: Path | None


def quiet(_doing: str, _done: int, _of: int) -> None:
    """Tell nobody."""


def copy(
    source: Place,
    target: Place,
    *,
    key_file: GivenKey = None,
    audit_log: AuditLog = None,
    progress: Progress = quiet,
    sleep: Callable[[float], None] = time.sleep,
) -> Copied:
    """Move a vault, resumably, and verify the copy; the source is then kept, but refuses to be used.

    Raises AlreadyExists where the target holds another vault or one in use, and the VaultErrors.
    """
    if _same(source, target):
        raise InvalidInput("source and target are the same place", fix="name two")
    with ExitStack() as stack:
        store = stack.enter_context(opened(source, create=False))
        old = stack.enter_context(bulk_of(store))
        row = keyring_row(old, source)
        kek = kek_of(source, row.box, key_file := Given.of(key_file))  # so that a passphrase is asked for once
        keyring = Keyring.unwrapped(row.box, kek)
        target_store = stack.enter_context(opened(target, create=True))
        new = stack.enter_context(bulk_of(target_store))
        move = _Move(old, new, keyring, LiveKeys(store, keyring, kek), progress)
        unfinished = _fit(row, new, source, target)
        kept = key_for(target, source, row, key_file)
        here, beyond = (move.recorder(one, source, audit_log) for one in (KeyedStore(store, move.keys), target_store))
        if unfinished:
            if row.state != MOVING:
                _tell("vault.move_started", source, target, here)  # and the log's key is made while one can be
            _begin(new, row)
            move.records(checked=True)
            old.mark(MOVING, frozen=True)
            _finish(move)
        spills = SpillFolder(source.spill_path(keyring.vault_id))
        _bring_late(move, VaultWorld(store=target_store, transport=no_transport, spills=spills, audit=beyond), sleep)
        new.mark(USED, frozen=False)
        old.mark(MOVED, frozen=True)
        _tell("vault.moved", source, target, beyond, here)
        return Copied(move.total, move.lines, move.written, kept)


def _tell(kind: str, source: Place, target: Place, *recorders: Recorder) -> None:
    for recorder in recorders:
        recorder.note(Event(kind, "vault", detail={"source": source.shown, "target": target.shown}))


def _bring_late(move: _Move, there: VaultWorld, sleep: Callable[[float], None]) -> None:
    """Take along what refreshes obtain that were under way: the source cannot be written, so they spill it."""
    late = [until for until in move.leases if until > time.time()]
    if late:
        move.progress("waiting for refreshes under way", 0, len(late))
        sleep(max(late) + sum(SAVE_DELAYS) - time.time())
    bring_home(Desk(move.keys.sealer), there)


def reopen(place: Place, *, key_file: GivenKey = None, audit_log: AuditLog = None) -> None:
    """Use a vault again that was moved; right only where the place it was moved to was never used."""
    with opened(place, create=False) as store, bulk_of(store) as tables:
        row = keyring_row(tables, place)
        if row.state not in {MOVED, MOVING}:
            raise InvalidInput(f"the vault in {place.shown} was not moved", fix="there is nothing to do")
        keyring = open_keyring(place, row, key_file)
        tables.mark(USED, frozen=False)
        recorder = recorder_of(store, keyring, actor="cli", copy_to=audit_log)
        recorder.note(Event("vault.reopened", "vault", detail={"place": place.shown}))


class _Move:
    """Copy one store's tables into another's, as often as it takes."""

    def __init__(self, old: Bulk, new: Bulk, keyring: Keyring, keys: LiveKeys, progress: Progress) -> None:
        self.old, self.new = old, new
        self.total = old.count()
        self.written = self.lines = 0
        self.leases: list[float] = []
        self._keyring, self.keys, self.progress = keyring, keys, progress

    def recorder(self, store: Store, source: Place, audit_log: AuditLog) -> Recorder:
        """Return what writes the log of one of the two places; both take in the source's spool."""
        return recorder_of(
            store, self._keyring, actor="cli", sealer=self.keys.sealer, copy_to=audit_log, spool_of=source.path
        )

    def records(self, *, checked: bool) -> None:
        """Write what differs, page by page; `checked` also opens every record of the source."""
        after, done = "", 0
        while True:
            page = self.old.rows(after)
            last = page[-1].name if len(page) == PAGE else None
            there = self.new.versions(after, last)
            changed = [row for row in page if there.get(row.name) != row.version and row.name != KEYRING]
            gone = there.keys() - {row.name for row in page} - {KEYRING}
            if checked:
                self._opened(page)
            with self.new.writing():
                self.new.put(changed)
                self.new.drop(gone)
            done += len(page)
            self.written += len(changed)
            self.progress("copying", done, self.total)
            if last is None:
                break
            after = last
        self.new.raise_floor(self.old.floor())

    def keyring(self) -> None:
        """Write the keyring once more: a data key may have been made since."""
        row = self.old.row(KEYRING)
        if row is not None:
            with self.new.writing():
                self.new.put([row._replace(state=COPYING)])

    def _opened(self, page: list[Row]) -> list[float]:
        if not all(row.name == KEYRING or self.keys.sealer.knows(row.box) for row in page):
            self.keys.look()  # a data key was made since we began
        return open_all(self.keys.sealer, page)

    def audit(self) -> None:
        """Write the lines of the audit log that differ: where a vault moves back, the two logs have parted."""
        after = self.lines = 0
        while True:
            page = self.old.lines(after)
            last = page[-1].id if len(page) == PAGE else None
            there = self.new.lines_between(after, last)
            with self.new.writing():
                self.new.drop_lines(number for number, line in there.items() if line not in page)
                self.new.put_lines(line for line in page if there.get(line.id) != line)
            self.lines += len(page)
            if last is None:
                break
            after = last
        self.new.put_heads(self.old.heads())

    def compare(self) -> None:
        """Open every record of the copy and compare it with the source; raises VaultDamaged."""
        after, done = "", 0
        self.leases = []
        while True:
            ours, theirs = self.old.rows(after), self.new.rows(after)
            if [_bare(row) for row in ours] != [_bare(row) for row in theirs]:
                raise VaultDamaged("the copy is not the same as the vault", fix="give the same command again")
            if not theirs:
                return
            self.leases += self._opened(theirs)
            done += len(theirs)
            after = theirs[-1].name
            self.progress("verifying", done, self.total)

    def compare_audit(self) -> None:
        """Compare the audit logs; raises VaultDamaged."""
        after = 0
        if self.old.heads() != self.new.heads():
            raise VaultDamaged("the heads of the audit log were not copied", fix="give the same command again")
        while True:
            page = self.old.lines(after)
            if page != self.new.lines(after):
                raise VaultDamaged("the audit log's copy is not the same", fix="give the same command again")
            if not page:
                return
            after = page[-1].id


def _bare(row: Row) -> Row:
    return row._replace(state="") if row.name == KEYRING else row


def open_all(sealer: Sealer, rows: Iterable[Row]) -> list[float]:
    """Open records, and return until when each lease lasts that is held; raises VaultDamaged naming those that fail."""
    bad, leases = [], []
    for row in rows:
        if row.name == KEYRING:
            continue
        try:
            plain = sealer.open(row.name, row.box)
            if row.name.startswith(names.CONNECTIONS):
                lease = from_bytes(Connection, row.name, plain).lease
                leases += [lease.until] if lease is not None else []
        except VaultDamaged:
            bad.append(row.name)
    if bad:
        shown = ", ".join(bad[:NAMED]) + (f" and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
        raise VaultDamaged(
            f"these records do not open: {shown}",
            cause="their bytes were changed or cut, or the file was damaged on its way",
            fix="nothing was changed; remove those connections, or restore them from an older backup",
        )
    return leases


def open_keyring(place: Place, row: Row, key_file: GivenKey) -> Keyring:
    """Open a keyring with the key given, or that of the place; raises KeyMissing or WrongKey."""
    return Keyring.unwrapped(row.box, kek_of(place, row.box, key_file))


def keyring_row(tables: Bulk, place: Place) -> Row:
    """Return the keyring's record; raises VaultMissing."""
    row = tables.row(KEYRING)
    if row is None:
        raise VaultMissing(f"there is no vault in {place.shown}", fix="name another")
    return row


def _fit(source_row: Row, new: Bulk, source: Place, target: Place) -> bool:
    """Say whether there is anything to copy; refuse a source or a target that must not be touched."""
    if source_row.state != MOVING:
        refuse_unused(source_row.state, source.shown)
    there = new.row(KEYRING)
    if there is None:
        if new.count():
            raise AlreadyExists(f"{target.shown} holds records of something else", fix="name an empty place")
        return True
    if Keyring.vault_id_of(there.box) != Keyring.vault_id_of(source_row.box):
        raise AlreadyExists(f"{target.shown} holds another vault", fix="name an empty place; nothing was changed")
    if there.state == USED:
        if source_row.state == MOVING:
            return False  # all was copied and verified, and the last word was not written down
        raise AlreadyExists(
            f"{target.shown} holds a copy of this vault that is in use",
            cause="one of the two is out of date, and which one cannot be told",
            fix="find out which one your programs use, and put the other away; nothing was changed",
        )
    if there.state not in {COPYING, MOVED}:
        refuse_unused(there.state, target.shown)
    return True


def _begin(new: Bulk, row: Row) -> None:
    """Make the target one that cannot be used until it is whole."""
    if new.row(KEYRING) is not None:
        new.mark(COPYING, frozen=False)  # half a copy, or what this vault was once moved away from
    new.put([row._replace(state=COPYING)])


def _finish(move: _Move) -> None:
    """Copy what changed until the freeze, and verify all; the source is in use again where that fails."""
    try:
        with move.old.reading():
            move.total = move.old.count()
            move.records(checked=False)
            move.keyring()
            move.audit()
            move.compare()
            move.compare_audit()
    except VaultDamaged:
        move.old.mark(USED, frozen=False)
        raise


def key_for(target: Place, source: Place, row: Row, given: GivenKey) -> Path | None:
    """See to it that a key file is where the target looks for it, and return where; None for a key in none."""
    if Keyring.is_described(row.box):
        return None  # the box goes along, and says how to come by the key
    key, path = kek_of(source, row.box, given), target.key_path(Keyring.vault_id_of(row.box))
    if not path.exists():
        make_folder(path.parent)
        key.save(str(path))
    if KeyFile.read(str(path)).key_id != key.key_id:
        raise AlreadyExists(f"{path} is the key of another vault", fix="move it away first; nothing was changed")
    return path


def _same(one: Place, other: Place) -> bool:
    if one.path is None or other.path is None:
        return one == other
    return one.path.resolve() == other.path.resolve()


@contextmanager
def opened(place: Place, *, create: bool) -> Iterator[Store]:
    """Open a store, and close it in the end."""
    store = place.open(create=create)
    try:
        yield store
    finally:
        store.close()


def no_transport() -> Sender:
    """Be what sends where nothing may be sent."""
    raise AssertionError("nothing is sent while a vault is copied")

"""Backup and restore: one file that holds a whole vault as it was at one moment, sealed as it was.

The file is an SQLite file whatever the vault is kept in, and is no vault itself: opening it is refused, because two
holders of the same refresh tokens end each other's grants. A backup is opened record by record before anything is
replaced, and what is replaced is kept aside. What may not be here: the key, which is never in a backup (kit.py).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from valetkey.audit.mirror import AuditLog
from valetkey.effects import Event
from valetkey.errors import AlreadyExists, InvalidInput, StoreUnavailable, VaultDamaged, VaultMissing, VaultUnreadable
from valetkey.values import shown_path
from valetkey.vault import names
from valetkey.vault.auditing import recorder_of
from valetkey.vault.copying import Progress, key_for, keyring_row, open_all, open_keyring, opened, quiet
from valetkey.vault.keks.giving import Given, GivenKey
from valetkey.vault.keyring import Keyring
from valetkey.vault.places import BACKUP, MOVED, USED, Place, refuse_unused
from valetkey.vault.private import new_file, private_folder, seen_by_others
from valetkey.vault.seal import key_id_of
from valetkey.vault.stores.bulk import KEYRING, Bulk, bulk_of
from valetkey.vault.stores.rows import AuditRow, Row


@dataclass(frozen=True)
class DataKey:
    """Be one data key of a vault: when it was made, how many records it seals, and whether new ones."""

    key_id: str
    made_at: datetime
    records: int
    current: bool

    def to_dict(self) -> dict[str, object]:
        """Return it for programs."""
        at = self.made_at.isoformat(timespec="seconds")
        return {"id": self.key_id, "made_at": at, "records": self.records, "current": self.current}


@dataclass(frozen=True)
class Checked:
    """Say what was found in a vault or a backup, every record of which opens with its key."""

    vault_id: str
    records: int
    lines: int
    states: dict[str, int]
    keys: tuple[DataKey, ...] = ()
    reseal: str = ""  # running or done, where there was one
    seen: tuple[str, ...] = ()  # what others on this machine can read


@dataclass(frozen=True)
class Restored:
    """Say what was restored, and where what it replaced is kept (None: there was nothing)."""

    checked: Checked
    aside: Path | None
    key_file: Path | None


def backup(place: Place, file: Path, *, progress: Progress = quiet) -> int:
    """Write a vault as it is now to a new file, mode 0600, while others use it; return how many records it holds.

    Raises AlreadyExists where there is such a file, and the VaultErrors. No key is needed.
    """
    if os.path.exists(file):  # noqa: PTH110  # which is False, and no error, for what can be no name
        raise AlreadyExists(f"{file} is there already", fix="name a new file; nothing was changed")
    if not file.parent.is_dir():
        raise InvalidInput(f"there is no folder {shown_path(str(file.parent))}", fix="make it, or name another")
    with opened(place, create=False) as store, bulk_of(store) as tables, draft_of(file) as draft:
        refuse_unused(keyring_row(tables, place).state, place.shown)
        with tables.reading():
            return _write(tables, draft, progress)


def check(place: Place, *, key_file: GivenKey = None, progress: Progress = quiet) -> Checked:
    """Open every record of a vault in use or of a backup; raises the VaultErrors, and changes nothing.

    Says also how old the data keys are and what they seal, and what others on this machine can read.
    """
    checked = _checked(place, place, key_file, progress)[0]
    vault_id = bytes.fromhex(checked.vault_id)
    files = [place.spill_path(vault_id), place.key_path(vault_id)]
    if place.path is not None:
        files += [place.path.with_name(place.path.name + end) for end in ("", "-wal", "-shm")]
    return replace(checked, seen=tuple(seen_by_others(*files)))


def restore(
    file: Path, place: Place, *, key_file: GivenKey = None, audit_log: AuditLog = None, progress: Progress = quiet
) -> Restored:
    """Put a backup in the place of a vault, or where there is none; the backup is verified before.

    Connections whose provider has rotated the refresh token since the backup need a new consent. Raises AlreadyExists
    where another vault is, and the VaultErrors; then nothing was changed.
    """
    key_file = Given.of(key_file)  # so that a passphrase is asked for once
    checked, row = verify(file, place, key_file=key_file, progress=progress)
    vault_id = Keyring.vault_id_of(row.box)
    highest = _replaceable(place, vault_id)
    kept = key_for(place, place, row, key_file)
    aside = _into_file(file, place.path, highest) if place.path is not None else _into_database(file, place, progress)
    with opened(place, create=False) as store:
        event = Event("vault.restored", "vault", detail={"backup": str(file), "aside": str(aside or "")})
        keyring = open_keyring(place, row, kept or key_file)
        recorder_of(store, keyring, actor="cli", copy_to=audit_log).note(event)
    return Restored(checked, aside, kept)


def verify(file: Path, place: Place, *, key_file: GivenKey = None, progress: Progress = quiet) -> tuple[Checked, Row]:
    """Open every record of a backup with the key of a place, or the one given; changes nothing."""
    if not os.path.isfile(file):  # noqa: PTH113  # as above
        shown = shown_path(str(file))
        raise VaultMissing(f"there is no backup {shown}", fix="name the file that `valetkey vault backup` wrote")
    checked, row = _checked(Place(path=file), place, key_file, progress)
    if row.state != BACKUP:
        raise InvalidInput(f"{file} is a vault and not a backup", fix="`valetkey vault copy` moves a vault")
    return checked, row


def _checked(place: Place, key_place: Place, key_file: GivenKey, progress: Progress) -> tuple[Checked, Row]:
    if place.path is not None and os.path.isfile(place.path) and place.path.stat().st_size == 0:  # noqa: PTH113  # as above
        raise VaultDamaged(f"{place.path} is empty", fix="use another backup")
    with opened(place, create=False) as store, bulk_of(store) as tables, tables.reading():
        row = keyring_row(tables, place)
        keyring = open_keyring(key_place, row, key_file)
        if not tables.sound():
            raise VaultDamaged(f"the file {place.shown} is damaged", fix="restore it from a backup")
        total, done, states, sealed, reseal = tables.count(), 0, Counter[str](), Counter[bytes](), ""
        sealer = keyring.sealer()
        for page in _pages(tables):
            open_all(sealer, page)
            states.update(found.state for found in page if found.name.startswith(names.CONNECTIONS))
            sealed.update(key_id_of(found.box) for found in page if found.name != names.KEYRING)
            reseal = next((found.state for found in page if found.name == names.RESEAL), reseal)
            done += len(page)
            progress("verifying", done, total)
        lines = sum(len(page) for page in _line_pages(tables))
    keys = tuple(
        DataKey(key_id.hex(), datetime.fromtimestamp(at, UTC), sealed[key_id], key_id == keyring.current)
        for key_id, at in keyring.made.items()
    )
    return Checked(keyring.vault_id.hex(), total, lines, dict(states), keys, reseal), row


def _pages(tables: Bulk) -> Iterator[list[Row]]:
    after = ""
    while page := tables.rows(after):
        yield page
        after = page[-1].name


def _line_pages(tables: Bulk) -> Iterator[list[AuditRow]]:
    after = 0
    while page := tables.lines(after):
        yield page
        after = page[-1].id


# ── writing a backup ──────────────────────────────────────────────────────────────────────────────────────────


NO_PLACE: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
)
"""What the system says where no file of this name can be made, however often it is tried."""


@contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """Give the path of a draft, which gets its name when it is whole.

    Raises AlreadyExists where the name is taken, InvalidInput where there can be no such file.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}.draft")
    try:
        new_file(draft).close()  # so that a folder that takes none is told by the name that was given
        draft.unlink()
        yield draft
        _synced(draft)
        os.link(draft, file)
        _synced(file.parent)
    except FileExistsError:
        raise AlreadyExists(f"{file} is there already", fix="name a new file; nothing was changed") from None
    except OSError as refusal:
        what = f"{shown_path(str(file))} cannot be written: {refusal.strerror}"
        if refusal.errno in NO_PLACE:
            raise InvalidInput(what, fix="name a file in a folder that is there and that you may write to") from None
        raise StoreUnavailable(what, fix="check its folder, and the space left") from None
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(f"{draft}{end}")  # noqa: PTH108  # a name with an ending
    # A link and not a rename, which would replace a file that appeared meanwhile.


def _synced(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk for good; folders only where the system knows of it."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(tables: Bulk, draft: Path, progress: Progress) -> int:
    """Write what the tables hold, as one moment shows it, into a backup."""
    with opened(Place(path=draft), create=True) as store, bulk_of(store) as new:
        total, done = tables.count(), 0
        for page in _pages(tables):
            with new.writing():
                new.put(page)
            done += len(page)
            progress("writing", done, total)
        for lines in _line_pages(tables):
            with new.writing():
                new.put_lines(lines)
        new.put_heads(tables.heads())
        new.raise_floor(tables.floor())
        new.mark(BACKUP, frozen=False)
        store.close()
        new.one_file()
    return total


# ── restoring one ─────────────────────────────────────────────────────────────────────────────────────────────


def _replaceable(place: Place, vault_id: bytes) -> int | None:
    """Return the highest version of the vault that would be replaced: 0 for none, None for one that cannot be read.

    Raises AlreadyExists where the place holds another vault.
    """
    try:
        with opened(place, create=False) as store, bulk_of(store) as tables:
            row = tables.row(KEYRING)
            if row is None:
                return None if tables.count() else tables.highest()
            if Keyring.vault_id_of(row.box) != vault_id:
                raise AlreadyExists(
                    f"{place.shown} holds another vault", fix="restore it to an empty place; nothing was changed"
                )
            refuse_unused(row.state, place.shown)
            return tables.highest()
    except VaultMissing:
        return 0
    except (VaultUnreadable, VaultDamaged) as refusal:
        if refusal.code == "vault_not_in_use" or place.path is None:
            raise
        return None  # a damaged file: what a restore is for


def _raised(row: Row, by: int) -> Row:
    """Return a record whose version is higher than any before, so that no late answer takes it for the one it knew."""
    return row._replace(version=row.version + by, state=USED if row.name == KEYRING else row.state)


def _into_file(file: Path, path: Path, highest: int | None) -> Path | None:
    with _restoring(file, path) as draft:
        with opened(Place(path=draft), create=False) as store, bulk_of(store) as new:
            for page in _pages(new):
                with new.writing():
                    new.put(_raised(row, highest or 0) for row in page)
            new.raise_floor(new.floor() + (highest or 0))
            store.close()
            new.with_log()
        _synced(draft)
        if not path.exists():
            os.replace(draft, path)  # noqa: PTH105  # beside the other calls on names
            aside = None
        elif highest is None:
            aside = _instead_of_damaged(draft, path)
        else:
            aside = _instead(draft, path)
        _synced(path.parent)
    return aside


@contextmanager
def _restoring(file: Path, path: Path) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        private_folder(path.parent)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(file, draft)
        yield draft
    except OSError as refusal:
        kind = VaultUnreadable if isinstance(refusal, PermissionError) else StoreUnavailable
        raise kind(
            f"{path} cannot be restored: {refusal.strerror}", fix="check its folder, and the space left"
        ) from None
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(f"{draft}{end}")  # noqa: PTH108  # a name with an ending


def _instead(draft: Path, path: Path) -> Path:
    """Put the draft in the place of a vault nobody has open, which is kept aside and refuses to be used."""
    aside = path.with_name(f"{path.name}.replaced-{_stamp()}")
    with opened(Place(path=path), create=False) as store, bulk_of(store) as tables:
        store.close()
        tables.one_file()  # so that no process goes on with a log that lies beside the new file
        tables.mark(MOVED, frozen=True)
        try:
            _named_too(path, aside)
            os.replace(draft, path)  # noqa: PTH105  # beside the other calls on names
        except OSError:
            tables.mark(USED, frozen=False)
            tables.with_log()
            raise
    return aside


def _instead_of_damaged(draft: Path, path: Path) -> Path:
    aside = path.with_name(f"{path.name}.replaced-{_stamp()}")
    for end in ("-wal", "-shm"):  # they belong to the damaged file, and would be taken for the new one's
        with suppress(FileNotFoundError):
            os.rename(f"{path}{end}", f"{aside}{end}")  # noqa: PTH104  # a name with an ending
    _named_too(path, aside)
    os.replace(draft, path)  # noqa: PTH105  # beside the other calls on names
    return aside


def _named_too(path: Path, aside: Path) -> None:
    try:
        os.link(path, aside)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(path, aside)  # no hard links on this file system


def _into_database(file: Path, place: Place, progress: Progress) -> Path | None:
    aside: Path | None = None
    with (
        opened(Place(path=file), create=False) as source,
        bulk_of(source) as old,
        opened(place, create=True) as store,
        bulk_of(store) as new,
        new.writing(),
    ):
        if new.row(KEYRING) is not None:
            aside = file.with_name(f"{file.name}.replaced-{_stamp()}")
            with draft_of(aside) as draft:
                _write(new, draft, progress)
        highest, total, done = new.highest(), old.count(), 0
        new.clear()
        for page in _pages(old):
            new.put(_raised(row, highest) for row in page)
            done += len(page)
            progress("restoring", done, total)
        for lines in _line_pages(old):
            new.put_lines(lines)
        new.put_heads_within(old.heads())
        new.raise_floor(old.floor() + highest)
    return aside


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")

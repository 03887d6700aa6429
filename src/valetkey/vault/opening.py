"""Opening a vault: where it is, its key, its keyring. A wrong key is refused before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from valetkey.audit.mirror import AuditLog, mirror_to
from valetkey.effects import Event
from valetkey.errors import InvalidInput, StoreUnavailable, VaultDamaged, VaultUnreadable
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.auditing import recorder_of
from valetkey.vault.desk import Desk
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import KeyedStore, LiveKeys
from valetkey.vault.near import Near
from valetkey.vault.places import USED, Place, refuse_unused
from valetkey.vault.private import private_folder
from valetkey.vault.recover import bring_home
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.missing import no_vault
from valetkey.vault.world import Sender, VaultWorld

if TYPE_CHECKING:
    from valetkey.vault.keks.giving import GivenKey


def default_path() -> Path:
    """Return the file of the vault when nobody says: VALETKEY_VAULT, else the user's data folder of this system.

    Raises InvalidInput where VALETKEY_VAULT names a database.
    """
    place = Place.of()
    if place.path is None:
        raise InvalidInput(
            "VALETKEY_VAULT names a database, and a file is needed here", fix="name the vault's file with --vault"
        )
    return place.path


def open_world(
    given: str | Path | None = None,
    *,
    transport: Callable[[], Sender],
    key_file: GivenKey = None,
    create: bool = True,
    actor: str = "library",
    audit_log: AuditLog = None,
) -> tuple[Desk, VaultWorld]:
    """Open or create a vault, in a file or a database; raises InvalidInput or the VaultErrors.

    Two processes that create it at once end up with one vault; `made` of the world says where one was made.
    """
    place = Place.of(given)
    mirror_to(audit_log)  # refused before a vault is made
    store = place.open(create=create)
    try:
        keyring, kek, made = _keyring(place, store, key_file, create=create)
        keys = LiveKeys(store, keyring, kek, again=partial(_again, place, key_file))
        keyed = KeyedStore(store, keys)
        desk = Desk(keys.sealer, near=Near(keyed, place.shown))
        spills = SpillFolder(place.spill_path(keyring.vault_id))
        audit = recorder_of(keyed, keyring, actor=actor, sealer=keys.sealer, copy_to=audit_log, spool_of=place.path)
        keys.tell = audit.tell
        world = VaultWorld(
            store=keyed, transport=transport, audit=audit, spills=spills, keys=keys, made=place.shown if made else ""
        )
        if made:
            audit.note(Event("vault.created", "vault", detail={"place": place.shown}))
        bring_home(desk, world)
    except BaseException:
        store.close()
        raise
    return desk, world


def _keyring(place: Place, store: Store, key_file: GivenKey, *, create: bool) -> tuple[Keyring, KeyFile, bool]:
    """Return the keyring, what opens it, and whether it was made just now."""
    made = False
    entry = store.load(names.KEYRING)
    if entry is None and store.names("", "", 1):
        entry = store.load(names.KEYRING)  # asked again: another process may have made the vault in between
        if entry is None:
            raise VaultDamaged("this vault holds records, but not the keyring that opens them")
    if entry is None and not create:
        # An empty file, or a database whose vault is being made just now.
        raise no_vault(place.path or place.shown, place.url)
    if entry is None:
        entry, made = _created(place, store, key_file)
    refuse_unused(entry.state, place.shown)
    if Keyring.is_described(entry.box) or not isinstance(key_file, Path | None):
        from valetkey.vault.keks.giving import kek_of  # late: most vaults have their key in a file

        kek = kek_of(place, entry.box, key_file)
    else:
        kek = KeyFile.read(str(key_file or place.key_path(Keyring.vault_id_of(entry.box))))
    return Keyring.unwrapped(entry.box, kek), kek, made


def _again(place: Place, given: GivenKey, stored: bytes) -> KeyFile:
    """Come by the key of a keyring that was rewrapped while the vault was open; nobody is asked for a passphrase."""
    from valetkey.vault.keks.giving import Given, kek_of  # late, as above

    return kek_of(place, stored, Given(given.key_file if isinstance(given, Given) else given))


def _created(place: Place, store: Store, given: GivenKey) -> tuple[Entry, bool]:
    """Make the keyring of a new vault, under a passphrase where a program gave one, else under a key file.

    A key file that is there already is used, because it may be mounted.
    """
    keyring, key_file = Keyring.create(time.time()), given if isinstance(given, Path | None) else given.key_file
    if key_file is None and not isinstance(given, Path | None) and given.told is not None:
        from valetkey.vault.keks.passphrase import new_key  # late: most vaults have their key in a file

        done = store.swap(names.KEYRING, 0, Entry(USED, keyring.wrapped(new_key(given.told))))
        return _made(store), done
    path = key_file or place.key_path(keyring.vault_id)
    there = path.exists()
    if not there and place.path is None:
        make_folder(path.parent)
    kek = KeyFile.read(str(path)) if there else KeyFile.create(str(path))
    done = store.swap(names.KEYRING, 0, Entry(USED, keyring.wrapped(kek)))
    entry = _made(store)
    if not done and not there and path != (key_file or place.key_path(Keyring.vault_id_of(entry.box))):
        path.unlink(missing_ok=True)  # named by an id that no vault has
    return entry, done


def _made(store: Store) -> Entry:
    """Load the keyring after it was made: ours, or that of a process that was faster."""
    entry = store.load(names.KEYRING)
    if entry is None:
        raise VaultDamaged("the keyring vanished while the vault was being created")
    return entry


def make_folder(folder: Path) -> None:
    """Make the folder of a key, for its owner alone; raises VaultUnreadable or StoreUnavailable."""
    try:
        private_folder(folder)
    except OSError as refusal:
        kind = VaultUnreadable if isinstance(refusal, PermissionError) else StoreUnavailable
        raise kind(
            f"the folder {folder} for the vault's key cannot be made: {refusal.strerror}",
            fix="make it, or name another place with --key-file or VALETKEY_KEY_FILE; nothing was changed",
        ) from None

"""Opening a vault: where it is, its key, its keyring. A wrong key is refused before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from valetkey.errors import VaultDamaged
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.quick import key_beside, places
from valetkey.vault.recover import bring_home
from valetkey.vault.seal import Sealer
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.vault.world import Sender, VaultWorld


def default_path() -> Path:
    """Return where the vault is when nobody says: VALETKEY_VAULT, else the user's data folder of this system."""
    return Path(places()[0])


def open_world(
    path: Path,
    *,
    transport: Callable[[], Sender],
    key_file: Path | None = None,
    create: bool = True,
    actor: str = "library",
) -> tuple[Desk, VaultWorld]:
    """Open or create a vault; raises the VaultErrors. Two processes that create it at once end up with one vault."""
    key_file = key_file or Path(key_beside(str(path)))
    store = SqliteStore.open(path, create=create)
    try:
        desk = Desk(_sealer(store, key_file))
        spills = SpillFolder(path.with_suffix(".spill"))
        world = VaultWorld(store=store, transport=transport, spills=spills, actor=actor)
        bring_home(desk, world)
    except BaseException:
        store.close()
        raise
    return desk, world


def _sealer(store: Store, key_file: Path) -> Sealer:
    entry = store.load(names.KEYRING)
    if entry is None:
        if store.names("", "", 1):
            raise VaultDamaged("this vault holds records, but not the keyring that opens them")
        # A new vault. A key file that is there already is used (it may be mounted), else one is made.
        kek = KeyFile.read(str(key_file)) if key_file.exists() else KeyFile.create(str(key_file))
        made = Entry("keyring", Keyring.create(time.time()).wrapped(kek))
        store.swap(names.KEYRING, 0, made)
        entry = store.load(names.KEYRING)  # ours, or that of a process that was faster
        if entry is None:
            raise VaultDamaged("the keyring vanished while the vault was being created")
    return Keyring.unwrapped(entry.box, KeyFile.read(str(key_file))).sealer()

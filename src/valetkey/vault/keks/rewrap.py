"""Another key for the same vault: the keyring is wrapped anew and swapped in by one write of the store.

The new key exists for good, and has opened the new box, before the swap; the old one is never removed. So whoever dies
at any step leaves a vault that opens with one of the two. What may not be here: the data keys' own rotation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valetkey.audit.mirror import AuditLog
from valetkey.effects import Event
from valetkey.errors import AlreadyExists, InvalidInput, StoreUnavailable, VaultDamaged, VaultMissing, VaultUnreadable
from valetkey.values import Entry, Secret
from valetkey.vault import names
from valetkey.vault.auditing import recorder_of
from valetkey.vault.keks import passphrase
from valetkey.vault.keks.giving import Given, GivenKey, kek_of, shown
from valetkey.vault.keks.kinds import KMS_ARN, TRANSIT_NAME
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Head, Keyring
from valetkey.vault.livekeys import KeyedStore, LiveKeys
from valetkey.vault.places import USED, Place, refuse_unused
from valetkey.vault.private import expanded, private_folder
from valetkey.vault.stores.base import Store

ATTEMPTS: Final = 5
"""How often a keyring that others change meanwhile is read anew."""


@dataclass(frozen=True)
class Target:
    """Be where the key shall be kept: `path` of a key file (None: beside the vault), `name` at a service."""

    kind: str
    path: Path | None = None
    name: str = ""

    @classmethod
    def of(cls, text: str) -> Target:
        """Read what `--to` and `--key` take; raises InvalidInput."""
        kind, colon, rest = text.partition(":")
        if kind == "file" and (rest or not colon):
            return cls("file", expanded(rest) if rest else None)
        if text in {"passphrase", "keychain"}:
            return cls(text)
        if (kind == "transit" and TRANSIT_NAME.fullmatch(rest)) or (kind == "aws-kms" and KMS_ARN.fullmatch(rest)):
            return cls(kind, name=rest)
        raise InvalidInput(
            f"a key cannot be kept in {text[:60]!r}",
            fix="file, file:PATH, passphrase, keychain, transit:NAME, transit:MOUNT/NAME, or aws-kms:ARN",
        )


@dataclass(frozen=True)
class Rewrapped:
    """Say how the key was kept and is kept now, as people call it."""

    vault_id: str
    before: str
    after: str


def rewrap(
    place: Place,
    target: Target,
    *,
    given: GivenKey = None,
    ask: Callable[[], Secret] | None = None,
    audit_log: AuditLog = None,
) -> Rewrapped:
    """Keep a vault's key elsewhere from now on; `ask` gives a new passphrase. Raises WrongKey and the VaultErrors."""
    given = Given.of(given)
    store = place.open(create=False)
    try:
        entry = _keyring(store, place)
        old = kek_of(place, entry.box, given)
        keyring = Keyring.unwrapped(entry.box, old)
        new = _made(place, target, keyring.vault_id, ask)
        if new.key_id == old.key_id:  # compared: fingerprints, which stand in the clear
            raise AlreadyExists(
                f"the vault is kept under {new.where} already", fix="name a new key file with --to file:PATH"
            )
        after = new.where if new.descriptor else f"key file {new.where}"
        before = shown(Head.of(entry.box)) if old.descriptor else f"key file {old.where}"
        keys = LiveKeys(store, keyring, old, again=lambda _box: new)
        keyed = KeyedStore(store, keys)
        recorder = recorder_of(keyed, keyring, actor="cli", sealer=keys.sealer, copy_to=audit_log)
        recorder.note(Event("vault.rewrap_started", "vault", detail={"before": before, "after": after}))
        _swapped(store, place, old, new)
        recorder.note(Event("vault.rewrapped", "vault", detail={"before": before, "after": after}))
    finally:
        store.close()
    return Rewrapped(keyring.vault_id.hex(), before, after)


def create(place: Place, target: Target, *, ask: Callable[[], Secret] | None = None, audit_log: AuditLog = None) -> str:
    """Make a new vault whose key is kept as `target` says, and return its id; raises AlreadyExists where one is."""
    if place.path is None or place.path.exists():
        with closing(place.open(create=True)) as store:
            _refuse_taken(store, place)  # before a key is made for nothing
    keyring = Keyring.create(time.time())
    box = keyring.wrapped(_made(place, target, keyring.vault_id, ask))  # refused: no empty vault stays behind
    with closing(place.open(create=True)) as store:
        _refuse_taken(store, place)
        if not store.swap(names.KEYRING, 0, Entry(USED, box)):
            raise AlreadyExists(f"another process made a vault in {place.shown}", fix="use it as it is")
        recorder = recorder_of(store, keyring, actor="cli", copy_to=audit_log)
        recorder.note(Event("vault.created", "vault", detail={"place": place.shown}))
    return keyring.vault_id.hex()


def _refuse_taken(store: Store, place: Place) -> None:
    if store.names("", "", 1):
        raise AlreadyExists(
            f"there is a vault in {place.shown}",
            fix="--vault names another place; `valetkey vault rewrap --to …` changes the key of the vault there",
        )


def _keyring(store: Store, place: Place) -> Entry:
    entry = store.load(names.KEYRING)
    if entry is None:
        raise VaultMissing(f"there is no vault in {place.shown}", fix="name another")
    refuse_unused(entry.state, place.shown)
    return entry


def _swapped(store: Store, place: Place, old: KeyFile, new: KeyFile) -> None:
    """Wrap the keyring as it is now with the new key and put it in place; others may add data keys meanwhile."""
    for _ in range(ATTEMPTS):
        entry = _keyring(store, place)
        box = Keyring.unwrapped(entry.box, old).wrapped(new)
        if Keyring.tried(box, new) is None:
            raise VaultDamaged("the keyring does not open with its new key", fix="nothing was changed; try again")
        if store.swap(names.KEYRING, entry.version, Entry(USED, box)):
            return
    raise StoreUnavailable("others keep changing the keyring", fix="give the same command again; nothing was changed")


def _made(place: Place, target: Target, vault_id: bytes, ask: Callable[[], Secret] | None) -> KeyFile:
    """Make the new key, and see to it that it is kept for good."""
    if target.kind == "passphrase":
        told = ask() if ask is not None else passphrase.found()
        if told is None:
            raise InvalidInput("the new passphrase is needed", fix="--new-passphrase-fd N, or a terminal")
        return passphrase.new_key(told)
    if target.kind == "keychain":
        from valetkey.vault.keks.keychain import new_keychain_key  # late: an extra

        return new_keychain_key(vault_id)
    if target.kind in {"transit", "aws-kms"}:
        from valetkey.vault.keks.managed import new_kms_key, new_transit_key  # late: extras, and cost to import

        if target.kind == "aws-kms":
            return new_kms_key(target.name, vault_id)
        mount, _, name = target.name.rpartition("/")
        return new_transit_key(mount or "transit", name, vault_id)
    path = target.path or place.key_path(vault_id)
    if not path.exists():
        try:
            private_folder(path.parent)
        except OSError as refusal:
            kind = VaultUnreadable if isinstance(refusal, PermissionError) else StoreUnavailable
            raise kind(
                f"the folder {path.parent} cannot be made: {refusal.strerror}", fix="make it, or name another place"
            ) from None
        return KeyFile.create(str(path))
    return KeyFile.read(str(path))

"""Vaults for the tests of keys: one with an app in it, its keyring as it is stored, and whether it opens."""

from __future__ import annotations

from pathlib import Path

import valetkey
from valetkey.vault import names
from valetkey.vault.places import Place
from vaultkit import an_app


def a_vault(path: Path) -> Place:
    """Make a vault with an app in it, whose key is in a file."""
    with valetkey.open(path) as vault:
        vault.add_app(an_app())
    return Place.of(path)


def box_of(place: Place) -> bytes:
    """Return the stored keyring."""
    store = place.open(create=False)
    box = store.load(names.KEYRING).box
    store.close()
    return box


def opens(place: Place, **how: object) -> bool:
    """Open the vault and look whether the app is there."""
    with valetkey.open(place.path, create=False, **how) as vault:
        return [app.name for app in vault.apps()] == ["acme"]

"""A store in the KV engine (version 2) of a HashiCorp Vault or OpenBao: its check-and-set decides who was first.

A record is a secret, its version the secret's. A forgotten record stays as an empty version, because a secret whose
history is removed begins at version 1 again. KV can list names and nothing else, so `due` and `count` read every record
they may concern (docs/decisions.md has the cost). The audit log is in hashicorp_ledger.py.
What may not be here: how the Vault is reached and logged in to (managers/hashicorp.py).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from valetkey.errors import InvalidInput, ManagerRefused, ManagerUnavailable, StoreUnavailable
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.managers.kv import Kv
from valetkey.values import Entry
from valetkey.vault.stores.hashicorp_ledger import HashiCorpLedger
from valetkey.vault.stores.missing import no_vault
from valetkey.vault.stores.rows import millis, moment

SCHEME: Final = "vault+kv://"

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]")
_CODED: Final = re.compile(r"=([0-9a-f]{2})")
_WHERE: Final = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+", re.ASCII)


class HashiCorpStore:
    """Keep records as secrets of a KV engine."""

    def __init__(self, manager: HashiCorp, folder: str) -> None:
        self._manager = manager
        self._mount, self._folder = _stored(lambda: Kv(manager).split(folder))
        self.ledger = HashiCorpLedger(self._read, self._write, self._listed)

    @classmethod
    def open(cls, url: str, *, create: bool, manager: HashiCorp | None = None) -> HashiCorpStore:
        """Open the store at vault+kv://MOUNT/FOLDER; raises InvalidInput, VaultMissing, StoreUnavailable."""
        folder = url.removeprefix(SCHEME).strip("/")
        if not _WHERE.fullmatch(folder) or {".", ".."} & set(folder.split("/")):
            raise InvalidInput(
                "this names no place in a KV engine", fix=f"write {SCHEME}MOUNT/FOLDER; VAULT_ADDR says where"
            )
        made = cls(manager or HashiCorp(Settings.of()), folder)
        if not create and not made._listed("records"):
            made.close()
            raise no_vault(f"{SCHEME}{folder}", url)
        return made

    # ── one record ────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now."""
        data, version = self._read(f"records/{_coded(name)}")
        return None if data is None or "box" not in data else _entry(data, version)

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Compare and set, by the engine's own check."""
        if entry is None and not seen:
            return False
        key = f"records/{_coded(name)}"
        data: dict[str, Any] = {"name": name}
        if entry is not None:
            data |= {"state": entry.state, "due_at": millis(entry.due_at), "box": b64encode(entry.box).decode()}
        if seen > 0:
            # Read first: the version of a forgotten record, which the check alone would take, is nobody's.
            held, version = self._read(key)
            return held is not None and "box" in held and version == seen and self._write(key, data, seen)
        if seen < 0:
            return False
        if self._write(key, data, 0):
            return True
        held, version = self._read(key)
        return (held is None or "box" not in held) and self._write(key, data, version)

    # ── many records ──────────────────────────────────────────────────────────────────────────────────────────

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return names in order; those of forgotten records are read to be left out."""
        found: list[str] = []
        for name in self._named(prefix):
            if len(found) >= limit:
                break
            if name > after and self.load(name) is not None:
                found.append(name)
        return found

    def due(self, prefix: str, before: datetime, limit: int) -> list[str]:
        """Return what is due, the longest due first; reads every record of the prefix."""
        found = [(entry.due_at, name) for name, entry in self._all(prefix) if entry.due_at is not None]
        return [name for due_at, name in sorted(found) if due_at <= before][: max(0, limit)]

    def count(self, prefix: str) -> dict[str, int]:
        """Return how many records there are by state; reads every record of the prefix."""
        return dict(Counter(entry.state for _, entry in self._all(prefix)))

    def _all(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        for name in self._named(prefix):
            entry = self.load(name)
            if entry is not None:
                yield name, entry

    def _named(self, prefix: str) -> list[str]:
        return sorted(name for name in map(_decoded, self._listed("records")) if name.startswith(prefix))

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, key: str) -> tuple[Mapping[str, Any] | None, int]:
        """Return what a secret holds and its version; nothing and 0 where it never was."""
        answer = self._asked(
            lambda client: client.secrets.kv.v2.read_secret_version(
                f"{self._folder}/{key}", mount_point=self._mount, raise_on_deleted_version=False
            )
        )
        if answer is None:
            return None, 0
        data = answer["data"]
        return data["data"], int(data["metadata"]["version"])

    def _write(self, key: str, data: Mapping[str, Any], cas: int) -> bool:
        """Write a version if `cas` is the one that is there; say whether it was."""

        def work(client: Any) -> bool:
            import hvac.exceptions

            try:
                client.secrets.kv.v2.create_or_update_secret(
                    f"{self._folder}/{key}", dict(data), cas=cas, mount_point=self._mount
                )
            except hvac.exceptions.InvalidRequest as refusal:
                if "did not match" in str(refusal):
                    return False
                raise
            return True

        return bool(_stored(lambda: self._manager.ask(work, "write the store")))

    def _listed(self, folder: str) -> list[str]:
        answer = self._asked(
            lambda client: client.secrets.kv.v2.list_secrets(f"{self._folder}/{folder}", mount_point=self._mount)
        )
        return [] if answer is None else [str(key) for key in answer["data"]["keys"]]

    def _asked(self, work: Any) -> Any:
        """Ask; nothing where there is nothing."""
        try:
            return _stored(lambda: self._manager.ask(work, "read the store"))
        except _Missing:
            return None

    def close(self) -> None:
        """Let go of the connections."""
        self._manager.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._mount}/{self._folder} at {self._manager.settings.shown}>"


class _Missing(StoreUnavailable):
    pass


def _stored(work: Any) -> Any:
    """Do the work; what its manager says is said of the store."""
    try:
        return work()
    except (ManagerRefused, ManagerUnavailable) as refusal:
        kind = _Missing if refusal.code == "manager_secret_missing" else StoreUnavailable
        raise kind(refusal.message, cause=refusal.cause, fix=refusal.fix) from None


def _entry(data: Mapping[str, Any], version: int) -> Entry:
    return Entry(str(data["state"]), b64decode(data["box"]), moment(data["due_at"]), version)


def _coded(name: str) -> str:
    """Write a record's name as a part of a path: letters, digits, _ and -, everything else as =xx in UTF-8."""
    return "".join(c if _PLAIN.fullmatch(c) else "".join(f"={byte:02x}" for byte in c.encode()) for c in name)


def _decoded(key: str) -> str:
    raw = _CODED.sub(lambda match: chr(int(match[1], 16)), key)
    return raw.encode("latin-1").decode()

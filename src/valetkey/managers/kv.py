"""The KV secrets engine, version 2, of a HashiCorp Vault: which part of a path is the mount; read, write, blank.

What may not be here: logging in, and what its refusals mean (hashicorp.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from valetkey.errors import ManagerRefused
from valetkey.managers.failures import refused
from valetkey.managers.hashicorp import HashiCorp
from valetkey.values import Secret

_VERSION_2: Final = "a KV secrets engine of version 2 is needed: `vault secrets enable -path=NAME -version=2 kv`"


class Kv:
    """Read and write secrets of a Vault by the paths that Vault's own command line takes (`kv/google`)."""

    def __init__(self, manager: HashiCorp) -> None:
        self._manager = manager
        self._mounts: set[str] = set()

    def read(self, path: str, doing: str) -> Mapping[str, Any]:
        """Return the members of a secret's current version; raises ManagerRefused, ManagerUnavailable."""
        mount, key = self.split(path)
        answer = self._manager.ask(
            lambda client: client.secrets.kv.v2.read_secret_version(
                key, mount_point=mount, raise_on_deleted_version=True
            ),
            doing,
        )
        data = answer.get("data", {}).get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise refused(f"the answer to a read is no secret: could not {doing}", fix=_VERSION_2)
        return data

    def write(self, path: str, data: Mapping[str, str], doing: str) -> None:
        """Write a new version of a secret; raises ManagerRefused, ManagerUnavailable."""
        mount, key = self.split(path)
        self._manager.ask(
            lambda client: client.secrets.kv.v2.create_or_update_secret(key, dict(data), mount_point=mount), doing
        )

    def split(self, path: str) -> tuple[str, str]:
        """Return the mount and the key of a path, as the Vault knows them; else the first part is the mount.

        A mount may have slashes in its name. Vault's command line asks the same question; a token may ask it of
        every path that its policy speaks of.
        """
        first = path.partition("/")[0]
        known = next((mount for mount in tuple(self._mounts) if path.startswith(mount)), None)
        if known is None:
            known = self._asked(path) or f"{first}/"
        return known.strip("/"), path.removeprefix(known)

    def _asked(self, path: str) -> str:
        """Return the mount that a Vault says a path has, or nothing where we may not ask."""
        told: dict[str, Any] = {}
        with suppress(ManagerRefused):
            answer = self._manager.ask(
                lambda client: client.adapter.get(f"/v1/sys/internal/ui/mounts/{path}"), f"find the mount of {path}"
            )
            told = answer.get("data") or {} if isinstance(answer, dict) else {}
        mount, version = str(told.get("path", "")), str((told.get("options") or {}).get("version", ""))
        if not mount or not path.startswith(mount):
            return ""
        if told.get("type") != "kv" or version != "2":
            raise refused(f"{mount.strip('/')} is no KV secrets engine of version 2", fix=_VERSION_2)
        self._mounts.add(mount)
        return mount


def field_of(data: Mapping[str, Any], field: str, place: str) -> Secret:
    """Return a member of a secret; raises ManagerRefused, which names the members there are and shows none."""
    found = data.get(field)
    if isinstance(found, str) and found:
        return Secret(found)
    names = ", ".join(sorted(str(name)[:64] for name in data)[:10]) or "none"
    what = "is empty" if found == "" else "is no text" if found is not None else "is not there"
    raise refused(
        f"the field {field} of {place} {what}",
        code="manager_secret_missing",
        cause=f"its fields are: {names}",
        fix="name one of them after #",
    )

"""Where references lead: ask the manager that is named, remember the answer for a while, ask again when told to.

Thread-safe; of many that ask for one secret at once, one fetches it. What may not be here: when a secret is needed,
and what is done about a refusal (vault/proving.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from valetkey.effects import Resolved, Want
from valetkey.errors import ValetkeyError
from valetkey.managers import awssecrets, local, writing
from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.managers.kv import Kv, field_of
from valetkey.managers.reference import Reference
from valetkey.values import Secret

REMEMBERED_SECONDS: Final = 60.0
"""How long a secret is used without asking again: a secret that was rotated takes effect within this time."""

REFETCH_SECONDS: Final = 30.0
"""How often one secret may be fetched anew because a provider refused it: a secret that is wrong in the manager stays
wrong, and is asked for by every connection of the app."""

FAILED_SECONDS: Final = 5.0
"""How long a failure is remembered: a manager that is down would otherwise be waited for by every connection."""

REMEMBERED_MOST: Final = 1024


@dataclass(slots=True)
class _Kept:
    """Be what was found, or why nothing was; by the monotonic clock."""

    at: float
    secret: Secret | None
    error: ValetkeyError | None = None


class Resolver:
    """Find the secrets that references lead to; a manager is made at the first question to it."""

    def __init__(
        self,
        *,
        hashicorp: Callable[[], HashiCorp] | None = None,
        aws: Callable[[], Aws] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_hashicorp = hashicorp or (lambda: HashiCorp(Settings.of()))
        self._make_aws = aws or Aws
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, bool], _Kept] = {}
        self._locks: dict[tuple[str, bool], threading.Lock] = {}
        self._hashicorp: HashiCorp | None = None
        self._kv: Kv | None = None
        self._aws: Aws | None = None

    def resolve(self, text: str, want: Want = "remembered") -> Resolved:
        """Return the secret behind a reference; raises InvalidInput, ManagerRefused or ManagerUnavailable."""
        reference = Reference.parse(text)
        key = text, want == "previous" and reference.kind == "aws-sm"
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None or self._clock() - kept.at >= self._lifetime(kept, want):
                kept = self._fetched(reference, key)
                fetched = True
            else:
                fetched = False
        if kept.error is not None:
            raise kept.error.with_traceback(None)
        assert kept.secret is not None
        return Resolved(kept.secret, fetched)

    @staticmethod
    def _lifetime(kept: _Kept, want: Want) -> float:
        if kept.error is not None:
            return FAILED_SECONDS
        return REFETCH_SECONDS if want == "fresh" else REMEMBERED_SECONDS

    def _fetched(self, reference: Reference, key: tuple[str, bool]) -> _Kept:
        try:
            kept = _Kept(self._clock(), self._fetch(reference, previous=key[1]))
        except ValetkeyError as refusal:
            kept = _Kept(self._clock(), None, refusal.with_traceback(None))
        with self._lock:
            if len(self._kept) >= REMEMBERED_MOST:
                self._kept.clear()
            self._kept[key] = kept
        return kept

    def _fetch(self, reference: Reference, *, previous: bool) -> Secret:
        if reference.kind == "vault":
            data = self.kv().read(reference.name, f"read {reference.place}")
            return field_of(data, reference.field, reference.place)
        if reference.kind == "aws-sm":
            stage = awssecrets.PREVIOUS if previous else awssecrets.CURRENT
            return awssecrets.read(self.aws(), reference, stage)
        return local.read(reference)

    def write(self, target: Reference, fields: Mapping[str, str], text: str) -> None:
        """Write a token where programs read it; raises InvalidInput, ManagerRefused or ManagerUnavailable."""
        writing.write(target, fields, text, self.kv, self.aws)

    def kv(self) -> Kv:
        """Return the KV engine of the HashiCorp Vault that the environment names; raises InvalidInput."""
        with self._lock:
            if self._kv is None:
                self._hashicorp = self._make_hashicorp()
                self._kv = Kv(self._hashicorp)
            return self._kv

    def aws(self) -> Aws:
        """Return AWS as the environment says it is reached."""
        with self._lock:
            if self._aws is None:
                self._aws = self._make_aws()
            return self._aws

    def close(self) -> None:
        """Let go of connections and of what is remembered."""
        with self._lock:
            self._kept.clear()
            managers = [one for one in (self._hashicorp, self._aws) if one is not None]
            self._hashicorp = self._kv = self._aws = None
        for manager in managers:
            manager.close()

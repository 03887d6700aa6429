"""The face of an app's secrets for programs: `vault.app_secret("google")`, and what may be shown of them.

What may not be here: the plans (rotation.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from valetkey.effects import Plan
from valetkey.errors import InvalidInput
from valetkey.values import Secret
from valetkey.vault import rotation
from valetkey.vault.desk import Desk, load_app
from valetkey.vault.proofs import proof_of
from valetkey.vault.records import App
from valetkey.vault.staged import Proof, Staged


@dataclass(frozen=True, slots=True)
class ProofInfo:
    """Be a secret, key or reference as it may be shown. `state` is in_use, staged or previous; times are aware, UTC."""

    state: str
    kind: str
    fingerprint: str
    method: str
    since: datetime | None
    expires_at: datetime | None
    tried_at: datetime | None = None
    tried_on: str = ""
    refused: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return it for programs: JSON types only."""
        shown = {name: getattr(self, name) for name in self.__slots__}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shown.items()}


@dataclass(frozen=True, slots=True)
class AppSecretInfo:
    """Be what an app proves itself with, and what stands beside it."""

    app: str
    in_use: ProofInfo
    other: ProofInfo | None

    def to_dict(self) -> dict[str, object]:
        """Return it for programs: JSON types only."""
        other = None if self.other is None else self.other.to_dict()
        return {"app": self.app, "in_use": self.in_use.to_dict(), "other": other}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """Be what is to be staged: one of secret, private key (PEM or JWK) or reference, and when it ends (aware)."""

    secret: Secret | None = None
    secret_ref: str = ""
    private_key: Secret | None = None
    private_key_ref: str = ""
    key_alg: str = ""
    key_id: str = ""
    method: str = ""
    expires_at: datetime | None = None

    def proof(self) -> Proof:
        """Return it as it is stored; raises InvalidInput for an end without a time zone."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        facts["expires_at"] = _seconds(self.expires_at)
        return Proof(**facts)


def info(app: App) -> AppSecretInfo:
    """Return an app's secrets as they may be shown."""
    return AppSecretInfo(app.name, _shown(proof_of(app), "in_use"), _other(app.staged))


def _other(staged: Staged | None) -> ProofInfo | None:
    if staged is None:
        return None
    return _shown(staged.proof, "staged" if staged.role == "next" else "previous", staged)


def _shown(proof: Proof, state: str, staged: Staged | None = None) -> ProofInfo:
    tried = staged.tried if staged is not None else None
    return ProofInfo(
        state=state,
        kind=proof.kind,
        fingerprint=proof.fingerprint,
        method=proof.method,
        since=_at(proof.since),
        expires_at=_at(proof.expires_at),
        tried_at=_at(tried.at if tried else None),
        tried_on=tried.on if tried else "",
        refused=tried.code if tried else "",
    )


def _at(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _seconds(moment: datetime | None) -> float | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInput("the end has no time zone", fix="give an aware datetime, datetime(2027, 1, 31, tzinfo=UTC)")
    return None if moment is None else moment.timestamp()


class AppSecret:
    """Change an app's secret without an outage; see docs/rotation.md. Made by `vault.app_secret(name)`."""

    def __init__(
        self, name: str, desk: Desk, run: Callable[[Plan[App]], App], fly: Callable[[str, Plan[App]], App]
    ) -> None:
        self.name = name
        self._desk = desk
        self._run = run
        self._fly = fly

    def show(self) -> AppSecretInfo:
        """Return which secrets there are; raises NotFound."""
        return info(self._run(load_app(self._desk, self.name)))

    def stage(self, new: NewSecret) -> AppSecretInfo:
        """Keep a new one beside the one in use; raises AlreadyExists, InvalidInput, KeyRefused, NotFound."""
        return info(self._run(rotation.stage(self._desk, self.name, new.proof())))

    def trial(self, connection: str) -> AppSecretInfo:
        """Renew one connection with the staged one; a ClientRefused changes nothing. Raises as `Keeper.refresh`."""
        return info(self._fly(connection, rotation.trial(self._desk, self.name, connection)))

    def promote(self, *, untried: bool = False, old_ends: datetime | None = None) -> AppSecretInfo:
        """Use the staged one from now on and keep the other, until `old_ends`; raises NotFound, InvalidInput."""
        plan = rotation.promote(self._desk, self.name, untried=untried, old_ends=_seconds(old_ends))
        return info(self._run(plan))

    def roll_back(self) -> AppSecretInfo:
        """Use the previous one again; raises NotFound, InvalidInput."""
        return info(self._run(rotation.roll_back(self._desk, self.name)))

    def forget(self) -> AppSecretInfo:
        """Drop the one that is not in use; raises NotFound."""
        return info(self._run(rotation.forget(self._desk, self.name)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}>"


Aside: TypeAlias = Callable[[Callable[[], AppSecretInfo]], Awaitable[AppSecretInfo]]
"""Do blocking work on a thread of its own."""


class AsyncAppSecret:
    """Change an app's secret without an outage, for coroutines; see AppSecret."""

    def __init__(self, sync: AppSecret, aside: Aside) -> None:
        self.sync = sync
        self._aside = aside

    async def show(self) -> AppSecretInfo:
        """Return which secrets there are; see AppSecret.show."""
        return await self._aside(self.sync.show)

    async def stage(self, new: NewSecret) -> AppSecretInfo:
        """Keep a new one beside the one in use; see AppSecret.stage."""
        return await self._aside(lambda: self.sync.stage(new))

    async def trial(self, connection: str) -> AppSecretInfo:
        """Renew one connection with the staged one; see AppSecret.trial."""
        return await self._aside(lambda: self.sync.trial(connection))

    async def promote(self, *, untried: bool = False, old_ends: datetime | None = None) -> AppSecretInfo:
        """Use the staged one from now on; see AppSecret.promote."""
        return await self._aside(lambda: self.sync.promote(untried=untried, old_ends=old_ends))

    async def roll_back(self) -> AppSecretInfo:
        """Use the previous one again; see AppSecret.roll_back."""
        return await self._aside(self.sync.roll_back)

    async def forget(self) -> AppSecretInfo:
        """Drop the one that is not in use; see AppSecret.forget."""
        return await self._aside(self.sync.forget)

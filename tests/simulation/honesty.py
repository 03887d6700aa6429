"""Whether what the vault says of a failure is true, as far as it could know.

What may not be here: the invariants about tokens (watch.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulation.provider import RefreshToken
from valetkey.errors import (
    BadAnswer,
    CallbackRefused,
    ClientRefused,
    GrantRefused,
    NeedsReconnect,
    NotConnected,
    NotFound,
    RequestRefused,
    Revoked,
    StoreUnavailable,
    ValetkeyError,
    Weather,
)

if TYPE_CHECKING:
    from simulation.house import Task
    from simulation.watch import Watch

_EVIDENCE: Final = {
    "crashed_mid_refresh": {"crash", "store", "spilled", "late"},
    "answer_lost": {"lost"},
    "server_error": {"server_error"},
    "bad_answer": {"bad_answer"},
}
"""What must have befallen a refresh token before the vault may say so of it."""

_ALWAYS: Final = (NotFound, NotConnected, Revoked, NeedsReconnect, CallbackRefused)
"""What a caller may be told without a fault: somebody disconnected, or answered a link twice."""

_BY_FAULT: Final = (StoreUnavailable, Weather, BadAnswer, ClientRefused, RequestRefused, GrantRefused)


def explains(reason: str, doubts: set[str], token: RefreshToken | None, *, spent: bool, now: float) -> str:
    """Return what is wrong with a reason for giving a refresh token up; empty if nothing is."""
    if token is None:
        return ""
    if reason in _EVIDENCE:
        return "" if doubts & _EVIDENCE[reason] else f"nothing of the kind befell {token.name}"
    if reason == "invalid_grant":
        if token.grant.death in {"person", "disconnect"} or now >= token.grant.ends_at:
            return ""
        return f"we had spent {token.name} before" if spent and doubts else ""
    return f"{reason} is no reason that can arise here"


def unexpected(refusal: ValetkeyError | None, task: Task, watch: Watch) -> str:
    """Return what is wrong with an error that a plan raised; empty if nothing is."""
    if refusal is None or isinstance(refusal, _ALWAYS):
        return ""
    if isinstance(refusal, _BY_FAULT):
        return (
            ""
            if watch.struck or task.kind in {"finish", "connect", "polling", "device"}
            else f"{refusal.code}, and no fault has struck"
        )
    return f"{type(refusal).__name__}: {refusal}"

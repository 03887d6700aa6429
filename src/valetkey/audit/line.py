"""One line of the audit log. Nothing in it is secret: names, words from fixed lists, and fingerprints.

Lines are durable and only ever added. They are not chained by hashes yet, so an owner of the file could edit them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from valetkey.effects import Event


@dataclass(frozen=True, slots=True)
class Line:
    """Be an event with its time and who did it (`actor`: cli, library, server, and the operating-system user)."""

    at: datetime
    actor: str
    kind: str
    subject: str
    outcome: str = "ok"
    reason: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Event, at: datetime, actor: str) -> Line:
        """Return an event as a line."""
        return cls(at, actor, event.kind, event.subject, event.outcome, event.reason, event.detail)

    def to_dict(self) -> dict[str, object]:
        """Return the line for programs."""
        shown: dict[str, object] = {"at": self.at.isoformat(timespec="milliseconds"), "kind": self.kind}
        shown |= {"subject": self.subject, "outcome": self.outcome, "actor": self.actor}
        if self.reason:
            shown["reason"] = self.reason
        return {**shown, **({"detail": dict(self.detail)} if self.detail else {})}

"""Telling the audit log who had which token: handed to a program, put on a request, or refused.

Told and not noted: nothing changes by it, so it is committed together with others (audit/recorder.py). What may not be
here: tokens in what is told, only their fingerprints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from valetkey.audit.recorder import Recorder
from valetkey.audit.who import WHO
from valetkey.effects import Event
from valetkey.errors import ValetkeyError
from valetkey.values import Token

HOSTS_MOST: Final = 64
"""Hosts for which one credential counts its uses by itself; it lives for a second."""


class Teller:
    """Tell the log of tokens."""

    def __init__(self, audit: Recorder) -> None:
        self._audit = audit

    def handed_out(self, name: str, token: Token, part: str = "") -> Callable[[], object]:
        """Tell that a token was given to the program that asked; returns what counts the next time."""
        detail = {"fingerprint": token.fingerprint(), "part": part} if part else {"fingerprint": token.fingerprint()}
        use = self._audit.count(Event("token.handed_out", name, detail=detail))
        return use if WHO.get() is None else self.later(name, token)

    def later(self, name: str, token: Token, part: str = "") -> Callable[[], object]:
        """Return what tells that a token was handed out, for whoever asks for it next."""
        return lambda: self.handed_out(name, token, part)

    def refused(self, name: str, refusal: ValetkeyError, part: str = "") -> None:
        """Tell that no token was given, and why."""
        self._audit.count(Event("token.refused", name, "refused", refusal.code, _part(part)))

    def injecting(
        self, name: str, token: Token
    ) -> tuple[Callable[[Token, str, str], None], Callable[[str], Callable[[], object] | None]]:
        """Return what tells to which host a token went, or, with a reason, to which it did not.

        And what gives, for a host it went to, what counts the same once more; see Credential.again.
        """
        uses: dict[tuple[str, str], Callable[[], object]] = {}

        def told(carried: Token, host: str, reason: str) -> None:
            counted = carried is token and WHO.get() is None  # another token after a 401 is told by itself
            use = uses.get((host, reason)) if counted else None
            if use is not None:
                use()
                return
            kind, outcome = ("token.withheld", "refused") if reason else ("token.injected", "ok")
            detail = {"fingerprint": carried.fingerprint(), "host": host}
            use = self._audit.count(Event(kind, name, outcome, reason, detail))
            if counted and len(uses) < HOSTS_MOST:
                uses[host, reason] = use

        return told, lambda host: uses.get((host, ""))


def _part(part: str) -> dict[str, str]:
    return {"part": part} if part else {}

"""The door: only the operator sees the pages, on loopback too, where every user of the machine can knock.

A TCP port of this machine is open to all its users, and to every container on its network. So a person opens the entry
link that the terminal shows, which is good once, or types the key that lies in a file only its owner can read. The
browser then holds a session: a random id and its end, vouched for with the key, good for this browser only. It is not
kept here, so a restart, or another server with the same key, sends nobody back to the door.
What may not be here: routes, and the vault.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from valetkey.errors import VaultUnreadable
from valetkey.values import Secret, shown_path

KEY_BYTES: Final = 32
"""So many that guessing needs no limit of attempts."""

SHORTEST: Final = 32  # characters; a shorter key was written by hand and could be guessed
LONGEST: Final = 1024

LINK_SECONDS: Final = 3600.0
"""How long an unused entry link is good: the terminal that shows it may stay open for days."""

SESSION_SECONDS: Final = 12 * 3600
"""A working day. Browsers do not keep the ports of a host apart, so a server of somebody else on another port of this
machine is sent the cookie too if it is opened in the same browser."""

SESSION_BYTES: Final = 16


def operator_key(path: Path) -> Secret:
    """Read the operator's key, or make one (mode 0600); raises VaultUnreadable."""
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii")[:LONGEST].strip()
    except (OSError, UnicodeDecodeError) as refusal:
        why = getattr(refusal, "strerror", "") or "it is not text"
        raise VaultUnreadable(
            f"the operator's key {shown_path(str(path))} cannot be read or made: {why}",
            fix="name a file in a folder that is there with --operator-key-file",
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise VaultUnreadable(
            f"the operator's key {path} can be read by others (mode {mode:04o})", fix=f"chmod 600 {path}"
        )
    if len(text) < SHORTEST:
        raise VaultUnreadable(
            f"the operator's key {path} is too short", fix="remove the file: a new one is made at the next start"
        )
    return Secret(text)


def _create(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_urlsafe(KEY_BYTES)}\n")
    draft.replace(path)


class Door:
    """Know who may come in: by the operator's key, by an entry link, and later by a session."""

    def __init__(self, key: Secret, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._links: dict[str, float] = {}  # by their hashes; until when each is good

    def link(self) -> Secret:
        """Return what opens the door once; it goes behind the # of an address, where no log and no Referer has it."""
        made = Secret(secrets.token_urlsafe(KEY_BYTES))
        self._links[_hashed(made.reveal())] = self._clock() + LINK_SECONDS
        return made

    def opens(self, shown: str) -> bool:
        """Say whether this is the key, or a link nobody has used yet; a link is used up by it."""
        shown = shown.strip()
        until = self._links.pop(_hashed(shown), None)
        if until is not None:
            return self._clock() < until
        return hmac.compare_digest(self._key.reveal().encode(), shown.encode())

    def session(self, browser: Secret) -> str:
        """Return a session for a browser that has opened the door."""
        claim = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(SESSION_BYTES)}"
        return f"{claim}.{self._proof(claim, browser)}"

    def admitted(self, browser: Secret | None, session: str) -> bool:
        """Say whether a session is this browser's, and lasts."""
        claim, _dot, proof = session.rpartition(".")
        if browser is None or not hmac.compare_digest(self._proof(claim, browser).encode(), proof.encode()):
            return False
        return self._clock() < int(claim.partition(".")[0])  # we wrote it: the proof says so

    def _proof(self, claim: str, browser: Secret) -> str:
        said = b"\0".join((b"valetkey session", claim.encode(), browser.reveal().encode()))
        return hmac.new(self._key.reveal().encode(), said, sha256).hexdigest()


def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()

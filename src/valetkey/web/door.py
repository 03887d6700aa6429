"""The operator's key: who may see the pages where others than this machine can reach them.

On loopback the pages are open, as the vault's file is to the same user. Everywhere else a person types the key that
lies in a file beside the vault; the browser then holds a proof made of the key and its own cookie.
What may not be here: routes, and the vault.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from valetkey.errors import VaultUnreadable
from valetkey.values import Secret
from valetkey.web.browser import cookie_name

KEY_BYTES: Final = 32
"""So many that guessing needs no limit of attempts."""

SHORTEST: Final = 32  # characters; a shorter key was written by hand and could be guessed
LONGEST: Final = 1024


def operator_key(path: Path) -> Secret:
    """Read the operator's key, or make one (mode 0600); raises VaultUnreadable."""
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii")[:LONGEST].strip()
    except (OSError, UnicodeDecodeError) as refusal:
        why = getattr(refusal, "strerror", "") or "it is not text"
        raise VaultUnreadable(f"the operator's key {path} cannot be read: {why}") from None
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
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_urlsafe(KEY_BYTES)}\n")
    draft.replace(path)


def proof(key: Secret, browser: Secret) -> str:
    """Return what a browser holds that has shown the key."""
    return hmac.new(key.reveal().encode(), b"valetkey operator\0" + browser.reveal().encode(), sha256).hexdigest()


def has_key(key: Secret, typed: str) -> bool:
    """Say whether what was typed is the key."""
    return hmac.compare_digest(key.reveal().encode(), typed.strip().encode())


def admitted(key: Secret | None, browser: Secret | None, cookies: Mapping[str, str], public_url: str) -> bool:
    """Say whether this browser may see the pages: always, where there is no key to show."""
    if key is None:
        return True
    shown = cookies.get(cookie_name(public_url, "operator"), "")
    return browser is not None and hmac.compare_digest(proof(key, browser).encode(), shown.encode())

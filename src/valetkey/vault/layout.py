"""The first bytes of stored records, and the head of a connection. Nothing is imported that costs start-up time."""

from __future__ import annotations

import struct
from typing import Final

RECORD_VERSION: Final = 1

LAYOUT: Final = struct.Struct(">BH")
"""Version of the record, length of its head."""

FRESH: Final = struct.Struct(">d")
"""Head of a connection whose token can be handed out: until when, followed by the token. Without one, look closer."""


def head_of(token: str, fresh_until: float) -> bytes:
    """Return the head of a connection whose token may be handed out until then; empty for a token too long for it."""
    head = FRESH.pack(fresh_until) + token.encode()
    return head if len(head) <= 0xFFFF else b""


def fresh_token(stored: bytes, moment: float) -> str:
    """Return the token in a connection's head if it may be handed out at `moment`, else the empty string."""
    if len(stored) < LAYOUT.size + FRESH.size or stored[0] != RECORD_VERSION:
        return ""
    _version, length = LAYOUT.unpack_from(stored)
    if length <= FRESH.size:
        return ""
    (fresh_until,) = FRESH.unpack_from(stored, LAYOUT.size)
    start = LAYOUT.size + FRESH.size
    return stored[start : LAYOUT.size + length].decode() if moment < fresh_until else ""

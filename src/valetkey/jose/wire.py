"""Base64url, strictly: bytes have exactly one spelling (RFC 7515 section 2, RFC 4648 section 3.5).

No padding, no unused bits that are set, no other alphabet, no white space.
What may not be here: JSON (objects.py), what a segment means.
"""

from __future__ import annotations

from binascii import Error
from typing import Final

from pybase64 import b64decode, b64encode

from valetkey.errors import TokenRefused
from valetkey.jose.reasons import refused

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
INSTEAD: Final = b"-_"
"""What base64url has instead of + and /."""
PLUS: Final = ord("+")
SLASH: Final = ord("/")
PADDING: Final = (b"", b"!", b"==", b"=")
"""What completes a segment, by its length modulo 4.
 No encoder makes a remainder of 1, so it gets a refused byte."""
LAST: Final = (frozenset(_ALPHABET), frozenset[int](), frozenset(_ALPHABET[::16]), frozenset(_ALPHABET[::4]))
"""The last characters that leave no unused bit set, by the length modulo 4."""


def encode(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 section 2)."""
    return b64encode(data, INSTEAD).rstrip(b"=")


def decode(segment: bytes, what: str) -> bytes:
    """Return the bytes of a base64url segment, if it is spelled as an encoder spells it (RFC 4648 section 3.5).

    Raises TokenRefused malformed_base64url, naming `what`.
    """
    rest = len(segment) & 3
    # The decoder takes + and / as well, padding that was there before, and unused bits that are set.
    if segment and (segment[-1] not in LAST[rest] or PLUS in segment or SLASH in segment):
        raise _base64_refused(segment, what)
    try:
        return b64decode(segment + PADDING[rest], INSTEAD, True)
    except Error:
        raise _base64_refused(segment, what) from None


def _base64_refused(segment: bytes, what: str) -> TokenRefused:
    if b"=" in segment:
        found = "padding"
    elif segment.translate(None, _ALPHABET):
        found = "a character outside A-Z a-z 0-9 - _"
    elif len(segment) & 3 == 1:
        found = "one character too many or three too few"
    else:
        found = "unused bits that are set"
    return refused("malformed_base64url", f"the {what} is not canonical base64url: {found}", claim=what, got=found)

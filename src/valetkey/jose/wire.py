"""How a token is written: base64url and JSON, both strictly (RFC 7515 sections 2 and 7.1, RFC 8259).

`decode` and `parse` take only what has exactly one spelling: no padding, no unused bits, no other alphabet, no
member twice, UTF-8 without a byte order mark, no NaN, bounded depth.
What may not be here: keys, algorithms, what a header or claim means.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NoReturn

import msgspec

from valetkey.errors import TokenRefused
from valetkey.jose.reasons import refused, shown

MAX_DEPTH: Final = 16
"""Deepest nesting of a header or payload. Real ones reach 4 (Keycloak's resource_access)."""

SHAPES_LIMIT: Final = 512
"""How many shapes of payloads are remembered; one issuer has one or two."""

SHAPE_SIZE: Final = 512
"""Longest shape that is remembered, in bytes."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STANDARD: Final = _ALPHABET[:-2] + b"+/"
# Every byte that is not of the base64url alphabet becomes one that the strict decoder refuses.
TO_STANDARD: Final = bytes(_STANDARD[_ALPHABET.index(byte)] if byte in _ALPHABET else 0x21 for byte in range(256))
TO_URL: Final = bytes.maketrans(b"+/", b"-_")
PADDING: Final = (b'"', b'!"', b'=="', b'="')
"""What completes a segment as a JSON string, by its length modulo 4.
 No encoder makes a remainder of 1, so it gets a refused byte."""
LAST: Final = (frozenset[int](), frozenset[int](), frozenset(_ALPHABET[::16]), frozenset(_ALPHABET[::4]))
"""The last characters that leave no unused bit set, by the length modulo 4."""

_STRUCTURE: Final = b'"\\:{}[]'
_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_shapes: dict[bytes, int] = {}

_loads: Final = msgspec.json.Decoder().decode
_from_base64: Final = msgspec.json.Decoder(bytes).decode


def encode(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 section 2)."""
    return b2a_base64(data, newline=False).translate(TO_URL).rstrip(b"=")


def decode(segment: bytes, what: str) -> bytes:
    """Return the bytes of a base64url segment, if it is spelled as an encoder spells it (RFC 4648 section 3.5).

    Raises TokenRefused malformed_base64url, naming `what`.
    """
    rest = len(segment) & 3
    try:
        # msgspec's decoder of base64 strings takes a third less time than the standard library's.
        data: bytes = _from_base64(b'"' + segment.translate(TO_STANDARD) + PADDING[rest])
    except msgspec.MsgspecError:
        raise _base64_refused(segment, what) from None
    if rest and segment[-1] not in LAST[rest]:
        raise _base64_refused(segment, what)
    return data


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


def parse(raw: bytes, what: str, *, allow_duplicates: bool = False) -> dict[str, Any]:
    """Return a JSON object, each member named once, lists as tuples and objects read-only.

    Raises TokenRefused malformed_json, duplicate_member, header_not_object or payload_not_object; `what` is
    "header" or "payload".
    """
    try:
        found = _loads(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _parse_slowly(raw, what)
    if type(found) is not dict:
        raise refused(f"{what}_not_object", f"the {what} is not a JSON object", claim=what)
    shape = raw.translate(None, _NOT_STRUCTURE)
    if _shapes.get(shape) == len(found):
        return found
    return _settle(raw, shape, found, what, allow_duplicates=allow_duplicates)


def read_object(segment: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in a segment: what `parse` and `decode` would, in one step for the usual segment."""
    rest = len(segment) & 3
    try:
        raw = _from_base64(b'"' + segment.translate(TO_STANDARD) + PADDING[rest])
        found = _loads(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return parse(decode(segment, what), what)
    shape = raw.translate(None, _NOT_STRUCTURE)
    if type(found) is dict and _shapes.get(shape) == len(found) and (not rest or segment[-1] in LAST[rest]):
        return found
    return parse(decode(segment, what), what)


def _settle(raw: bytes, shape: bytes, found: dict[str, Any], what: str, *, allow_duplicates: bool) -> dict[str, Any]:
    """Refuse duplicates where the shape alone does not settle it, and make nested values read-only."""
    nested = b"[" in shape or shape.count(b"{") > 1
    counted, frozen = _freeze(found, 1, what) if nested else (len(found), found)
    # After _freeze, which bounds the depth for the parser that counts.
    expected = abs(_shapes.get(shape, 0)) or _remember(raw, shape, nested=nested)
    if counted != expected and not allow_duplicates:
        raise refused("duplicate_member", f"the {what} names a member twice", claim=what)
    return dict(frozen)


def _remember(raw: bytes, shape: bytes, *, nested: bool) -> int:
    """Count the members a shape has, and keep it for the next payload; negative marks the ones with inner values."""
    if b"\\" in shape:
        # A backslash may escape a quote: only a parser can tell what is structure.
        return _count_members(raw)
    members, inside = 0, False
    for byte in shape:
        if byte == 0x22:
            inside = not inside
        elif byte == 0x3A and not inside:
            members += 1
    if len(shape) <= SHAPE_SIZE:
        if len(_shapes) >= SHAPES_LIMIT:
            _shapes.clear()
        _shapes[shape] = -members if nested else members
    return members


def _count_members(raw: bytes) -> int:
    members = 0

    def count(pairs: list[tuple[str, object]]) -> None:
        nonlocal members
        members += len(pairs)

    json.loads(raw, object_pairs_hook=count)
    return members


def _freeze(value: Any, depth: int, what: str) -> tuple[int, Any]:
    """Return how many members a value holds, all levels counted, and the value made read-only."""
    if depth > MAX_DEPTH:
        raise refused("malformed_json", f"the {what} is nested deeper than {MAX_DEPTH}", claim=what)
    if type(value) is dict:
        pairs = {name: _freeze(item, depth + 1, what) for name, item in value.items()}
        members = len(pairs) + sum(count for count, _ in pairs.values())
        return members, MappingProxyType({name: item for name, (_, item) in pairs.items()})
    if type(value) is list:
        items = [_freeze(item, depth + 1, what) for item in value]
        return sum(count for count, _ in items), tuple(item for _, item in items)
    return 0, value


def _parse_slowly(raw: bytes, what: str) -> NoReturn:
    """Say why bytes that the fast parser refused are not a header or payload."""
    if not raw:
        raise refused(f"{what}_not_object", f"the {what} is empty", claim=what)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise refused("malformed_json", f"the {what} is not UTF-8", claim=what) from None
    try:
        found = json.loads(text) if max(text.count("["), text.count("{")) <= MAX_DEPTH * 16 else None
    except (ValueError, RecursionError):
        found = None
    if what == "payload" and isinstance(found, dict):
        # JSON but for NaN, a number beyond every float, or half a surrogate pair: the claim can be named.
        for name, value in found.items():
            if _unusable(value):
                raise refused("claim_type", f"{shown(name)} is not a usable value", claim=shown(name))
    raise refused("malformed_json", f"the {what} is not JSON", claim=what)


def _unusable(value: object) -> bool:
    if isinstance(value, float):
        return not isfinite(value)
    return isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value)

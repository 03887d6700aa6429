"""JSON objects, strictly: headers and payloads (RFC 7515 section 4, RFC 7519 section 4, RFC 8259).

Each member named once, UTF-8 without a byte order mark, no NaN, bounded depth; lists become tuples and objects
read-only, so that claims that are kept for the next caller cannot be changed by this one.

In two steps, because the second is work in Python and is done only for whom it is worth it: `load` reads the JSON;
`settle` looks for members named twice. The usual object needs no second step, for no object is inside it, which is all
that `load_usual` reads, and its commas tell how many members it has.
What may not be here: what a member means.
"""

from __future__ import annotations

import json
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import msgspec

from valetkey.jose.reasons import refused, shown

MAX_DEPTH: Final = 16
"""Deepest nesting of a header or payload. Real ones reach 4 (Keycloak's resource_access)."""

_STRUCTURE: Final = b'"\\:{}[]'
_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

_Scalar: TypeAlias = str | int | float | bool | None
_loads: Final = msgspec.json.Decoder().decode
load_usual: Final = msgspec.json.Decoder(dict[str, _Scalar | tuple[_Scalar, ...]]).decode
"""Read a JSON object without objects in it; what is not that, raises one of NOT_USUAL."""
NOT_USUAL: Final = (msgspec.MsgspecError, UnicodeDecodeError)
_dumps: Final = msgspec.json.Encoder().encode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Loaded(NamedTuple):
    """Be a JSON object that was read and not yet looked through."""

    found: dict[str, Any]
    raw: bytes
    what: str


def load(raw: bytes, what: str) -> Loaded:
    """Return a JSON object that was not looked through.

    Raises TokenRefused malformed_json, claim_type, header_not_object or payload_not_object; `what` is "header" or
    "payload".
    """
    try:
        found = _loads(raw)
    except _UNREADABLE:
        _say_why(raw, what)
    if type(found) is not dict:
        raise refused(f"{what}_not_object", f"the {what} is not a JSON object", claim=what)
    return Loaded(found, raw, what)


def usual(found: dict[str, Any], raw: bytes, what: str) -> dict[str, Any]:
    """Return what `load_usual` found, each member named once; raises as `settle`.

    Of n members in the text, n - 1 commas stand between; others may be in values. So if there are as many commas as
    members were found, but one, no member took another's place. Or else the same is written as was read.
    """
    return found if raw.count(b",") + 1 == len(found) or _dumps(found) == raw else parse(raw, what)


def settle(loaded: Loaded, *, allow_duplicates: bool = False) -> dict[str, Any]:
    """Return the object, each member named once, and read-only inside.

    Raises TokenRefused duplicate_member, or malformed_json if it is nested too deep.
    """
    found, raw, what = loaded
    shape = raw.translate(None, _NOT_STRUCTURE)
    tally = [len(found)]
    try:
        frozen = {name: item if type(item) in _SCALARS else _freeze(item, 2, tally) for name, item in found.items()}
    except _TooDeep:
        raise refused("malformed_json", f"the {what} is nested deeper than {MAX_DEPTH}", claim=what) from None
    # After _freeze, which bounds the depth for the parser that counts where a backslash may escape a quote.
    members = _count_members(raw) if b"\\" in shape else b"".join(shape.split(b'"')[::2]).count(b":")
    if members != tally[0] and not allow_duplicates:
        raise refused("duplicate_member", f"the {what} names a member twice", claim=what)
    return frozen


def parse(raw: bytes, what: str, *, allow_duplicates: bool = False) -> dict[str, Any]:
    """Return a JSON object in both steps; raises as `load` and `settle`."""
    return settle(load(raw, what), allow_duplicates=allow_duplicates)


class _TooDeep(Exception):
    """Say inside this file that a value is nested too deep."""


def _freeze(value: Any, depth: int, tally: list[int]) -> Any:
    """Return a list or an object made read-only, and add the members it holds to the tally."""
    if depth > MAX_DEPTH:
        raise _TooDeep
    if type(value) is list:
        return tuple([item if type(item) in _SCALARS else _freeze(item, depth + 1, tally) for item in value])
    tally[0] += len(value)
    return MappingProxyType(
        {name: item if type(item) in _SCALARS else _freeze(item, depth + 1, tally) for name, item in value.items()}
    )


def _count_members(raw: bytes) -> int:
    members = 0

    def count(pairs: list[tuple[str, object]]) -> None:
        nonlocal members
        members += len(pairs)

    json.loads(raw, object_pairs_hook=count)
    return members


def _say_why(raw: bytes, what: str) -> NoReturn:
    """Say why bytes that the parser refused are not a header or payload."""
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

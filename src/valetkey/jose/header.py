"""Read a token's shape and header, and choose the key: all that is decided before any cryptography.

The header is written by whoever sent the token. It chooses nothing but which of *our* keys to try: `jwk`, `jku`,
`x5u` and `x5c` are never looked at, and `alg` must be the one the key is for.
What may not be here: claims, policies beyond what concerns headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from valetkey.jose.algorithms import NAMES
from valetkey.jose.key import KID_LIMIT, Key
from valetkey.jose.keyset import KeySet
from valetkey.jose.objects import parse
from valetkey.jose.reasons import config_error, refused, shown
from valetkey.jose.wire import decode

HEADER_LIMIT: Final = 4096
"""Longest header, in characters. Ours have 80; a chain of certificates (x5c) takes 4 000 upwards."""

DEFAULT_TYPES: Final = ("", "JWT", "at+jwt")
"""Types accepted unless the policy names one: none, the general one, RFC 9068's. Not logout+jwt, dpop+jwt and so on."""

REGISTERED: Final = frozenset(
    {"alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit", "enc", "zip", "epk", "apu"}
    | {"apv", "iv", "tag", "p2s", "p2c"}
)
"""Header names that `crit` may not list (RFC 7515 section 4.1.11, RFC 7518)."""

HEADS_LIMIT: Final = 64
"""How many headers of genuine tokens a key set remembers; an issuer has one for each key and type."""


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Be what a policy says of headers."""

    algorithms: frozenset[str] | None = None
    types: frozenset[str] | None = None
    allow_duplicate_members: bool = False
    allow_jwe_headers: bool = False
    try_all_keys: bool = False

    @property
    def lenient(self) -> bool:
        """Say whether a header may pass here that another policy refuses for its form."""
        return self.allow_duplicate_members or self.allow_jwe_headers or self.try_all_keys


class Head(NamedTuple):
    """Be a header that was read: the keys to try, and what else of it counts."""

    keys: tuple[Key, ...]
    alg: str
    typ: str


def media_type(typ: str) -> str:
    """Return a `typ` as it is compared: lower case, without `application/` (RFC 7515 section 4.1.9)."""
    typ = typ.lower()
    bare = typ.removeprefix("application/")
    return typ if "/" in bare else bare


def checked_algorithms(names: str | Iterable[str]) -> frozenset[str]:
    """Return an allow-list; raises InvalidInput config_error for `none`, unknown names and mixed families."""
    if not isinstance(names, Iterable):
        raise config_error(f"the allowed algorithms are of type {type(names).__name__}", fix="algorithms='ES256'")
    chosen = frozenset([names] if isinstance(names, str) else names)
    unknown = sorted(shown(name) for name in chosen if name not in NAMES)
    if unknown or not chosen:
        raise config_error(f"not signature algorithms: {', '.join(unknown) or 'an empty list'}")
    if len({name[:2] == "HS" for name in chosen}) > 1:
        raise config_error(
            "the allowed algorithms mix shared secrets and public keys",
            fix="make two policies, each with its own key set",
        )
    return chosen


def examine_shape(raw: bytes) -> None:
    """Refuse what is not three parts of base64url; raises TokenRefused with the reason for what it is instead."""
    start = raw.lstrip(b" \t\r\n\xef\xbb\xbf")[:1]
    if start in {b"B", b"b"} and raw.lstrip()[:7].lower() == b"bearer ":
        refusal = refused("malformed_token", "this is what stands in an Authorization header, not the token alone")
        refusal.fix = "leave out the word Bearer and the blank behind it"
        raise refusal
    if start in {b"{", b"["}:
        raise refused("not_compact", "this is a JSON serialisation, not a compact token")
    dots = raw.count(b".")
    if dots == 4:
        raise refused("unexpected_jwe", "this is an encrypted token (JWE): it has five parts")
    if dots != 2 or raw[:1] == b".":
        raise refused("malformed_token", "a token has three parts", expected=3, got=dots + 1 if raw else 0)
    for part, what in zip(raw.split(b"."), ("header", "payload", "signature"), strict=True):
        decode(part, what)


class Parts(NamedTuple):
    """Be the parts of a token in base64url, without padding, and the bytes that were signed."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def split(raw: bytes, *, padded: bool = False) -> Parts:
    """Return the three parts; `padded` also takes segments with correct padding. Raises as `examine_shape`."""
    signed, _, signature = raw.rpartition(b".")
    header, _, payload = signed.partition(b".")
    if padded and b"=" in raw:
        header, payload, signature = _unpad(header), _unpad(payload), _unpad(signature)
        examine_shape(b".".join((header, payload, signature)))
    else:
        examine_shape(raw)
    return Parts(header, payload, signature, signed)


def _unpad(segment: bytes) -> bytes:
    """Return a segment without correct padding; any other stays, for the decoder to refuse."""
    bare = segment.rstrip(b"=")
    return bare if len(segment) % 4 == 0 and len(segment) - len(bare) <= 2 else segment


def read_head(segment: bytes, keys: KeySet, rules: HeaderRules) -> Head:
    """Return what counts of a header, with the keys to try; raises TokenRefused."""
    header = parse_header(segment, rules)
    check_extensions(header, rules)
    return choose(header, keys, rules)


def choose(header: dict[str, Any], keys: KeySet, rules: HeaderRules) -> Head:
    """Return what counts of a header whose form is right; raises TokenRefused."""
    alg = checked_alg(header, rules)
    typ = checked_typ(header, rules)
    kid = checked_kid(header)
    return Head(keys.find(alg, kid, try_all=rules.try_all_keys), alg, typ)


def parse_header(segment: bytes, rules: HeaderRules) -> dict[str, Any]:
    """Return the header's members; raises TokenRefused token_too_large and those of wire.py."""
    if len(segment) > HEADER_LIMIT:
        raise refused(
            "token_too_large", "the header is too large", claim="header", expected=HEADER_LIMIT, got=len(segment)
        )
    return parse(decode(segment, "header"), "header", allow_duplicates=rules.allow_duplicate_members)


def check_extensions(header: dict[str, Any], rules: HeaderRules) -> None:
    """Refuse what would change how the token is read (RFC 7515 section 4.1.11, RFC 7797, RFC 7516)."""
    if "crit" in header:
        _check_crit(header)
    if header.get("b64", True) is not True:
        raise refused("b64_unsupported", "unencoded payloads are not supported", claim="b64")
    found = [name for name in ("zip", "enc") if name in header]
    if found and not rules.allow_jwe_headers:
        raise refused("header_forbidden", f"{found[0]} does not belong into a signed token", claim=found[0])


def _check_crit(header: dict[str, Any]) -> None:
    crit = header["crit"]
    if not isinstance(crit, tuple) or not crit or not all(isinstance(name, str) for name in crit):
        raise refused("crit_malformed", "crit is not a list of names", claim="crit")
    if len(set(crit)) != len(crit):
        raise refused("crit_malformed", "crit lists a name twice", claim="crit", got=crit)
    if any(name in REGISTERED for name in crit):
        raise refused("crit_malformed", "crit lists a name that needs no listing", claim="crit", got=crit)
    if any(name not in header for name in crit):
        raise refused("crit_malformed", "crit lists a name that is not in the header", claim="crit", got=crit)
    if "b64" in crit:
        raise refused("b64_unsupported", "unencoded payloads are not supported", claim="b64")
    raise refused("crit_unsupported", "the token demands an extension that is not supported", claim="crit", got=crit)


def checked_alg(header: dict[str, Any], rules: HeaderRules) -> str:
    """Return `alg` if it exists and is allowed; the comparison is exact (rfc8725bis section 3.1)."""
    alg = header.get("alg")
    if alg is None:
        raise refused("alg_missing", "the header names no algorithm", claim="alg")
    if not isinstance(alg, str):
        raise refused("header_type", "alg is not a string", claim="alg")
    allowed = NAMES if rules.algorithms is None else rules.algorithms
    if alg not in allowed:
        raise refused("alg_not_allowed", f"{shown(alg)} is not allowed", claim="alg", expected=sorted(allowed), got=alg)
    return alg


def checked_typ(header: dict[str, Any], rules: HeaderRules) -> str:
    """Return `typ` as it is compared, if it is one of the expected (rfc8725bis section 3.11)."""
    typ = header.get("typ", "")
    if not isinstance(typ, str):
        raise refused("header_type", "typ is not a string", claim="typ")
    found = media_type(typ)
    if rules.types is not None and found not in rules.types:
        expected = ", ".join(sorted(name or "none" for name in rules.types))
        raise refused("typ_mismatch", "the token is of another kind", claim="typ", expected=expected, got=typ or "none")
    return found


def checked_kid(header: dict[str, Any]) -> str | None:
    """Return `kid`, which is only ever looked up (rfc8725bis section 3.10)."""
    if "kid" not in header:
        return None
    kid = header["kid"]
    if not isinstance(kid, str):
        raise refused("header_type", "kid is not a string", claim="kid")
    if len(kid) > KID_LIMIT:
        raise refused("no_matching_key", f"a kid of {len(kid)} characters names no key", claim="kid")
    return kid

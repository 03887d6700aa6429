"""Verify tokens: `verify` for JWTs, `verify_bytes` for a JWS of any payload.

The order is fixed: size, alphabet, JSON, header, key, signature, members, claims. One outcome: claims, or TokenRefused.
There is no way to read a token without verifying it; `explain` tells a person what is wrong with one.
What may not be here: clocks. The time is an argument.
"""

from __future__ import annotations

from binascii import Error
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any, Final

from pybase64 import b64decode

from valetkey.jose.algorithms import BadSignature
from valetkey.jose.claims import Claims
from valetkey.jose.header import HEADS_LIMIT, Head, HeaderRules, checked_algorithms, read_head, split
from valetkey.jose.key import Key
from valetkey.jose.keyset import KeySet, as_keyset
from valetkey.jose.objects import NOT_USUAL, load, load_usual, parse, settle, usual
from valetkey.jose.policy import Policy
from valetkey.jose.reasons import config_error, refused
from valetkey.jose.rules import NEVER, judge
from valetkey.jose.signing import TOKEN_LIMIT
from valetkey.jose.wire import INSTEAD, LAST, PADDING, PLUS, SLASH, decode

_ANY_HEADER: Final = HeaderRules()
_begun: Final = sha256().copy  # a copy is there sooner than a new one


def verify(token: str | bytes, keys: KeySet | Key, policy: Policy, *, now: float) -> Claims:
    """Return the claims of a token that is genuine and meets the policy (RFC 7519 section 7.2, RFC 8725).

    `now` is seconds since 1970. Raises TokenRefused, whose `reason` says which check failed.
    """
    keys = keys if type(keys) is KeySet else as_keyset(keys)
    if type(token) is str and len(token) <= policy.max_size and token.isascii():
        raw = token.encode()
    else:
        raw = as_bytes(token, policy.max_size)
    digest = text = b""
    if (memory := policy.memory) is not None:
        hashed = _begun()
        hashed.update(raw)
        digest = hashed.digest()
        entry = memory.young.get(digest) or memory.promoted(digest)
        if entry is not None and entry[0] is keys and entry[1] <= now < entry[2]:
            return entry[3]
    signed, _, signature = raw.rpartition(b".")
    segment, _, payload = signed.partition(b".")
    known = policy.heads.get(segment)
    body = None
    if known is not None and known[0] is keys and PLUS not in raw and SLASH not in raw:
        # As `decode` and `parse` do it, but in this place: each call of a function costs RS256 up to 1 %.
        try:
            known[1](signed, b64decode(signature + PADDING[len(signature) & 3], INSTEAD, True))
            text = b64decode(payload + PADDING[len(payload) & 3], INSTEAD, True)
            if signature[-1] in LAST[len(signature) & 3] and payload[-1] in LAST[len(payload) & 3]:
                found = load_usual(text)
                body = found if text.count(b",") + 1 == len(found) else usual(found, text, "payload")
        except (BadSignature, Error, IndexError):
            pass
        except NOT_USUAL:
            body = parse(text, "payload")
    body = body or _read_anew(raw, keys, policy)  # which knows the reason if it is refused
    until = policy.accept(body, now) or _judged(body, policy, now)
    claims = Claims(body, policy.scope_claim)
    if memory is not None:
        memory.put(digest, (keys, now, until, claims))
    return claims


def verify_bytes(
    token: str | bytes,
    keys: KeySet | Key,
    *,
    algorithms: str | Iterable[str] | None = None,
    max_size: int = TOKEN_LIMIT,
) -> bytes:
    """Return the payload of a JWS whose signature is right (RFC 7515 section 5.2). Nothing in it is checked.

    For payloads that are no claims. For tokens use `verify`. Raises TokenRefused.
    """
    rules = _ANY_HEADER if algorithms is None else HeaderRules(algorithms=checked_algorithms(algorithms))
    parts = split(as_bytes(token, max_size))
    check_signature(read_head(parts.header, as_keyset(keys), rules), parts.signed, parts.signature)
    return decode(parts.payload, "payload")


def claimed_issuer(token: str | bytes, issuers: Collection[str], *, max_size: int = TOKEN_LIMIT) -> str:
    """Return which of `issuers` a token says it is from, for choosing the policy and keys to verify it with.

    Nothing is verified, and nothing comes out but one of the names that went in. Raises TokenRefused: iss_mismatch
    for any other issuer, and those of the token's form.
    """
    if isinstance(issuers, str):
        issuers = (issuers,)  # a name, and not whatever stands somewhere in it
    issuer = parse(decode(split(as_bytes(token, max_size)).payload, "payload"), "payload").get("iss")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise refused(
            "iss_mismatch", "the token is from an unknown issuer", claim="iss", expected=sorted(issuers), got=issuer
        )
    return issuer


def as_bytes(token: str | bytes, limit: int) -> bytes:
    """Return the token's bytes; the size is looked at first. Raises TokenRefused."""
    kind = type(token)
    if kind is not str and kind is not bytes:
        raise refused("malformed_token", f"a token is text, not a {kind.__name__}")
    if len(token) > limit:
        raise refused("token_too_large", "the token is too large", expected=f"{limit} or less", got=len(token))
    if isinstance(token, bytes):
        return token
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise refused("malformed_base64url", "the token holds characters that are not ASCII") from None


def _judged(body: dict[str, Any], policy: Policy, now: float) -> float:
    """Return until when the claims of a genuine token are good; raises TokenRefused."""
    check_clock(now)
    return judge(body, policy, now)


def check_clock(now: float) -> None:
    """Refuse what is no time, and a time beyond the year 9999, which is in milliseconds; raises InvalidInput."""
    try:
        good = 0 <= now <= NEVER
    except TypeError:
        good = False
    if not good:
        raise config_error("the time is not a number of seconds since 1970")


def check_issuer_bound(keys: KeySet, policy: Policy) -> None:
    """Refuse keys that are bound to another issuer than the policy's (rfc8725bis section 3.8)."""
    if keys.issuer is not None and keys.issuer != policy.issuer:
        raise refused(
            "iss_mismatch", "the keys belong to another issuer", claim="iss", expected=policy.issuer, got=keys.issuer
        )


def _read_anew(raw: bytes, keys: KeySet, policy: Policy) -> dict[str, Any]:
    """Verify a token whose header is not known yet, or that was refused and is owed the exact reason."""
    rules = policy.header
    parts = split(raw, padded=policy.allow_padding)
    head = read_head(parts.header, keys, rules)
    loaded = load(decode(parts.payload, "payload"), "payload")
    check_signature(head, parts.signed, parts.signature)
    body = settle(loaded, allow_duplicates=rules.allow_duplicate_members)
    check_issuer_bound(keys, policy)
    if not rules.lenient:
        if len(policy.heads) >= HEADS_LIMIT:
            policy.heads.clear()
        policy.heads[parts.header] = keys, head.keys[0].checker
    return body


def check_signature(head: Head, signed: bytes, signature: bytes) -> None:
    """Check the signature with the keys of the header; raises TokenRefused bad_signature."""
    raw = decode(signature, "signature")
    for key in head.keys:
        try:
            key.checker(signed, raw)
        except BadSignature:
            continue
        return
    raise refused("bad_signature", "the signature does not belong to this token and key", claim="signature")

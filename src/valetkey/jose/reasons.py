"""Every reason a token or a key is refused for: the stable word, the HTTP status a server should answer, and the fix.

A refusal is made by `refused(...)`, so that each carries its fix. The words never change; texts may.
What may not be here: checks. They stand where they are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from valetkey.errors import InvalidInput, KeyRefused, TokenRefused

SHOWN_LIMIT: Final = 80
"""Longest piece of a token's claims that is repeated in an error; a claim may be 16 KiB of somebody's choosing."""

JWT_LIKE: Final = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*")
"""What every JSON object in base64url begins with, so every JWT."""

HIDDEN: Final = "(masked)"


class Reason(NamedTuple):
    """Say what a refusal means for a server: its HTTP status (RFC 6750 section 3.1) and what to change."""

    status: int
    fix: str


REASONS: Final[dict[str, Reason]] = {
    # wire format
    "token_too_large": Reason(401, "ask the issuer for smaller tokens, or raise Policy(max_size=…)"),
    "malformed_token": Reason(401, "send the token alone: three parts joined by dots, nothing before or after"),
    "not_compact": Reason(401, "send the compact form (header.payload.signature), not the JSON serialisation"),
    "malformed_base64url": Reason(
        401, "send the token as it was issued; if this issuer pads, say Policy(allow_padding=True)"
    ),
    "malformed_json": Reason(401, "the issuer must send valid UTF-8 JSON"),
    "header_not_object": Reason(401, "the issuer must send a JSON object as header"),
    "payload_not_object": Reason(401, "the issuer must send a JSON object as payload"),
    "duplicate_member": Reason(
        401, "the issuer must name each member once; to take the last one, say Policy(allow_duplicate_members=True)"
    ),
    "unexpected_jwe": Reason(401, "send a signed token (JWS); encrypted ones are not accepted"),
    # header
    "header_forbidden": Reason(
        401, "the issuer must not send zip or enc in a signed token; Policy(allow_jwe_headers=True) ignores them"
    ),
    "header_type": Reason(401, "the issuer must send this header as a string"),
    "alg_missing": Reason(401, "the issuer must name the algorithm in the header"),
    "alg_not_allowed": Reason(401, "sign with an algorithm of the key set and policy; `none` does not exist here"),
    "key_alg_mismatch": Reason(401, "sign with the one algorithm this key is for"),
    "no_matching_key": Reason(401, "check that the key set belongs to this issuer and is up to date"),
    "crit_unsupported": Reason(401, "the issuer must not demand extensions; none is supported"),
    "crit_malformed": Reason(401, "the issuer must send crit as RFC 7515 section 4.1.11 says, or leave it out"),
    "b64_unsupported": Reason(401, "the issuer must not use unencoded payloads (RFC 7797)"),
    "typ_mismatch": Reason(401, "send a token of the kind asked for; set Policy(typ=…) to the one you expect"),
    "bad_signature": Reason(401, "check the key: the token was signed with another one, or changed since"),
    # claims
    "claim_missing": Reason(401, "the issuer must set this claim"),
    "claim_type": Reason(401, "the issuer must send this claim with the type of RFC 7519"),
    "claim_mismatch": Reason(401, "send a token in which this claim has the expected value"),
    "expired": Reason(401, "get a new token; if the clocks differ, set Policy(leeway=…)"),
    "not_yet_valid": Reason(401, "wait; if the clocks differ, set Policy(leeway=…)"),
    "issued_in_future": Reason(401, "compare the clocks of the issuer and this machine; set Policy(leeway=…)"),
    "too_old": Reason(401, "get a new token, or raise Policy(max_age=…)"),
    "lifetime_too_long": Reason(401, "the issuer must issue shorter tokens, or raise Policy(max_lifetime=…)"),
    "iss_mismatch": Reason(401, "compare Policy(issuer=…) with the token's iss, character by character"),
    "aud_mismatch": Reason(401, "ask the issuer for a token for this audience, or correct Policy(audience=…)"),
    "sub_mismatch": Reason(401, "send a token of the expected subject, or correct Policy(subject=…)"),
    "scope_insufficient": Reason(403, "ask the issuer for a token with these scopes"),
    "token_replayed": Reason(401, "get a new token for every use; each counts once"),
    "replay_memory_full": Reason(503, "try again later; the issuer should issue shorter tokens"),
    # remote keys
    "jwks_unavailable": Reason(503, "the issuer's key set cannot be fetched now; try again later"),
    "jwks_redirect": Reason(503, "set the final address of the key set; redirects are not followed"),
    "jwks_too_large": Reason(503, "the key set is larger than any issuer's; check its address"),
    "jwks_timeout": Reason(503, "the issuer's key set did not arrive in time; try again later"),
    "jwks_invalid": Reason(503, "the address does not answer with a usable key set; check it"),
    "issuer_mismatch": Reason(503, "the metadata names another issuer; check the issuer's address"),
    "blocked_address": Reason(
        503, "the key set's host is on a private network; say RemoteKeys(allow_private=True) if that is meant"
    ),
}

KEY_REASONS: Final[dict[str, str]] = {
    "key_invalid": "give the key as it was exported, complete and unchanged",
    "key_too_weak": "make a new key; `valetkey key generate` makes none that is too weak",
    "key_not_symmetric": "load it with Key.from_pem or Key.from_jwk; a secret is random bytes and nothing else",
    "key_alg_mismatch": "name the one algorithm this key is for, as alg=…",
    "key_use_mismatch": "use a key whose use is sig and whose key_ops allow it",
    "key_not_private": "give the private key, which is with whoever signs",
    "key_not_public": "give the verifier the secret itself, or use ES256, whose keys have two halves",
    "ambiguous_key": "give each key of the set its own kid",
    "mixed_keyset": "put each kind into a set of its own",
    "private_key_published": "the issuer has published a private key; it must be replaced at once",
}


def refused(reason: str, message: str, *, claim: str = "", expected: object = "", got: object = "") -> TokenRefused:
    """Make the refusal for `reason`, with its fix; `expected` and `got` are shortened to one printable line.

    What looks like a token in what came is masked: an `aud` may be anything.
    """
    came = masked(shown(got))
    return TokenRefused(reason, message, claim=claim, expected=shown(expected), got=came, fix=REASONS[reason].fix)


def masked(text: str) -> str:
    """Return a text with what looks like a token in it masked."""
    return JWT_LIKE.sub(HIDDEN, text)


def key_refused(reason: str, message: str, *, cause: str = "", fix: str = "") -> KeyRefused:
    """Make the refusal of a key; the message never holds key material."""
    return KeyRefused(message, cause=cause, fix=fix or KEY_REASONS[reason], reason=reason)


def config_error(message: str, *, fix: str = "") -> InvalidInput:
    """Make the error for a policy or an argument that cannot be meant."""
    return InvalidInput(message, code="config_error", fix=fix or "correct the argument; see docs/jose.md")


def shown(value: object) -> str:
    """Return a value for people: one line, printable, short. Only numbers, strings and lists of strings are shown."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (bool, int, float)):
        try:
            text = str(value)
        except ValueError:  # more digits than Python is willing to write
            text = "a very long number"
    elif value is None:
        text = "null"
    elif isinstance(value, (list, tuple)):
        text = ", ".join(shown(item) for item in value[:8])
    else:
        text = "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    if len(text) > SHOWN_LIMIT:
        text = f"{text[:SHOWN_LIMIT]}… ({len(text)} characters)"
    return "".join(c if c.isprintable() else "�" for c in text)

"""What somebody proves itself with, and the other one that stands beside it while secrets are being changed.

    next        staged: the provider, or our issuer, knows it already or will soon; it is not used yet
    previous    what was used before: kept until it is told to be forgotten, or until its end

Values, and nothing else. What may not be here: apps and providers (proofs.py), services, I/O, the clock.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from valetkey.values import Secret

Role = Literal["next", "previous"]

ENDED_SECONDS: Final = 86_400.0
"""An end is told as a day, and nobody says in which time zone: until a day after its beginning it may still be good."""


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be what somebody proves itself with: a secret, a private key, or references to where they are kept.

    `method` is the token_endpoint_auth_method it goes with (RFC 7591 section 2), empty: the usual one.
    """

    secret: Secret | None = None
    secret_ref: str = ""
    private_key: Secret | None = None
    private_key_ref: str = ""
    key_alg: str = ""
    key_id: str = ""
    method: str = ""
    since: float = 0.0  # when it was given; 0: not known
    expires_at: float | None = None  # when it ends, as a person has told us

    @property
    def fingerprint(self) -> str:
        """Return what tells two proofs apart without showing either; references are named, they are no secret."""
        parts = [held.fingerprint() for held in (self.secret, self.private_key) if held is not None]
        parts += [reference for reference in (self.secret_ref, self.private_key_ref) if reference]
        return " + ".join(parts)

    @property
    def kind(self) -> str:
        """Return in words what it is."""
        said = {
            "client secret": self.secret is not None,
            "reference": bool(self.secret_ref or self.private_key_ref),
            "private key": self.private_key is not None,
        }
        return " and ".join(word for word, there in said.items() if there) or "nothing"

    def same(self, other: Proof) -> bool:
        """Say whether both prove the same: whatever they are called, and whenever they end."""
        mine = (self.secret, self.secret_ref, self.private_key, self.private_key_ref, self.method)
        return mine == (other.secret, other.secret_ref, other.private_key, other.private_key_ref, other.method)

    def over(self, moment: float) -> bool:
        """Say whether its end has surely come."""
        return self.expires_at is not None and moment >= self.expires_at + ENDED_SECONDS


class Tried(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be what came of trying a proof: `code` is the provider's refusal, empty where it worked; `on` is on what."""

    at: float
    on: str
    code: str = ""


class Staged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the other proof: at most one, as most providers keep two at a time, and so that it is plain which is meant."""

    proof: Proof
    role: Role = "next"
    tried: Tried | None = None

    @property
    def works(self) -> bool:
        """Say whether it was tried last with success."""
        return self.tried is not None and not self.tried.code

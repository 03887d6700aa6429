"""KeySet: the keys a verifier trusts, and the choice of one for a header.

A set is read-only. Withdrawing a key makes a new set, and what was verified with the old one does not count for the
new one: that is how a withdrawn key is obeyed at once, also by the cache of verified tokens.
What may not be here: fetching (see remote.py), tokens beyond their header.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, Self

import msgspec

from valetkey.errors import KeyRefused
from valetkey.jose.algorithms import rows
from valetkey.jose.key import Key
from valetkey.jose.reasons import config_error, key_refused, refused, shown

KEYS_LIMIT: Final = 100
"""Most keys in a set; large issuers publish about ten."""

TRIED_LIMIT: Final = 4
"""Most keys tried for a token without kid, where the policy allows trying at all."""


class KeySet:
    """Hold keys, looked up by `kid`. Read-only; iterable.

    `issuer` binds the set to one issuer: no policy for another may use it (rfc8725bis section 3.8). `skipped` says
    why entries of a published set were left out. With `allow_shared_kid`, keys for different algorithms may have one
    kid, as some issuers publish them; the header's `alg` then chooses.
    """

    __slots__ = ("_by_kid", "_keys", "issuer", "skipped")

    _by_kid: dict[str, tuple[Key, ...]]
    _keys: tuple[Key, ...]
    issuer: str | None
    skipped: tuple[str, ...]

    def __init__(
        self,
        keys: Iterable[Key],
        *,
        issuer: str | None = None,
        skipped: tuple[str, ...] = (),
        allow_shared_kid: bool = False,
    ) -> None:
        chosen = _as_keys(keys)
        _check(chosen, allow_shared_kid=allow_shared_kid)
        set_once = super().__setattr__
        set_once("_keys", chosen)
        set_once("_by_kid", {name: tuple(key for key in chosen if key.kid == name) for name in {k.kid for k in chosen}})
        set_once("issuer", issuer)
        set_once("skipped", skipped)

    @classmethod
    def from_jwks(
        cls,
        jwks: Mapping[str, Any] | bytes | str,
        *,
        alg: str | None = None,
        issuer: str | None = None,
        skip_unusable: bool = False,
        allow_shared_kid: bool = False,
    ) -> Self:
        """Read a JWK Set (RFC 7517 section 5). `alg` is the algorithm of entries that name none.

        One unusable entry refuses the set. With `skip_unusable`, meant for a set that somebody else publishes, such
        entries are left out (RFC 7517 section 5 asks for it), and so are secrets and private keys.
        Raises KeyRefused: key_invalid if nothing usable is in it, ambiguous_key, mixed_keyset, and those of Key.
        """
        document = _document(jwks)
        keys: list[Key] = []
        skipped: list[str] = []
        for entry in document:
            try:
                keys.append(
                    _public_entry(entry, alg) if skip_unusable else Key.from_jwk(entry, alg=_default(entry, alg))
                )
            except KeyRefused as refusal:
                if not skip_unusable:
                    raise
                skipped.append(refusal.reason)
        if not keys:
            raise key_refused("key_invalid", "the key set holds no usable key", cause=", ".join(sorted(set(skipped))))
        return cls(keys, issuer=issuer, skipped=tuple(skipped), allow_shared_kid=allow_shared_kid)

    def find(self, alg: str, kid: str | None, *, try_all: bool = False) -> tuple[Key, ...]:
        """Return the key for a header; more than one only with `try_all`.

        A key without a name of its own (its kid is the thumbprint) also serves tokens with another kid, if it is the
        only one. Raises TokenRefused no_matching_key, key_alg_mismatch or alg_not_allowed.
        """
        if kid is not None and (named := self._by_kid.get(kid)) is not None:
            chosen = tuple(key for key in named if alg in key.algorithm.accepts)
            if not chosen:
                raise self._alg_refused(alg, ", ".join(key.alg for key in named))
            return chosen[:1]
        fitting = [key for key in self._keys if alg in key.algorithm.accepts]
        if not fitting:
            raise self._alg_refused(alg, ", ".join(sorted({key.alg for key in self._keys})))
        candidates = fitting if kid is None else [key for key in fitting if not key.named]
        if len(candidates) == 1 or (try_all and 0 < len(candidates) <= TRIED_LIMIT):
            return tuple(candidates)
        why = "names no key, and several would fit" if kid is None else "names a key that is not in the set"
        raise refused("no_matching_key", f"the header {why}", claim="kid", expected=_kids(self._keys), got=kid or "")

    def _alg_refused(self, alg: str, expected: str) -> Exception:
        # An algorithm that no key here is for was never to be expected; one of another key is a mismatch.
        known = any(alg in key.algorithm.accepts for key in self._keys)
        reason = "key_alg_mismatch" if known or _same_family(alg, self._keys) else "alg_not_allowed"
        return refused(reason, f"{shown(alg)} is not the algorithm of the key", claim="alg", expected=expected, got=alg)

    def without(self, kid: str) -> KeySet:
        """Return the set without a key that is withdrawn."""
        return self._made_of(key for key in self._keys if key.kid != kid)

    def bound_to(self, issuer: str) -> KeySet:
        """Return the same keys, bound to an issuer."""
        return KeySet(self._keys, issuer=issuer, skipped=self.skipped, allow_shared_kid=True)

    def same_as(self, other: KeySet) -> bool:
        """Say whether two sets hold the same keys under the same names for the same issuer."""
        return self.issuer == other.issuer and _marks(self) == _marks(other)

    def _made_of(self, keys: Iterable[Key]) -> KeySet:
        return KeySet(keys, issuer=self.issuer, skipped=self.skipped, allow_shared_kid=True)

    def to_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public halves as a JWK Set, for publishing; raises KeyRefused if a secret is in the set."""
        return {"keys": [key.to_jwk() for key in self._keys]}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, kid: str) -> Key:
        return self._by_kid[kid][0]

    def __contains__(self, kid: object) -> bool:
        return kid in self._by_kid

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = "a KeySet is read-only; make a new one, or use without(kid)"
        raise AttributeError(message)

    def __repr__(self) -> str:
        return f"<KeySet {', '.join(f'{key.alg}:{shown(key.label)}' for key in self._keys)}>"

    def __reduce__(self) -> NoReturn:
        message = "a KeySet is not pickled; publish it with to_jwks"
        raise TypeError(message)


def as_keyset(keys: Any) -> KeySet:
    """Return a key set for a set or a single key; the same one every time, so that what was verified is remembered."""
    if isinstance(keys, KeySet):
        return keys
    if not isinstance(keys, Key):
        raise config_error(
            f"the keys are neither a KeySet nor a Key, but of type {type(keys).__name__}",
            fix="Key.secret(…) or Key.from_pem(…), several as KeySet([…]); RemoteKeys are for a Verifier",
        )
    alone: KeySet = keys.memo.setdefault(KeySet, KeySet([keys]))
    return alone


def _as_keys(given: Any) -> tuple[Key, ...]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise config_error("a KeySet is made of a list of keys", fix="KeySet([key, …]), or KeySet.from_jwks(document)")
    chosen = tuple(given)
    if not all(isinstance(key, Key) for key in chosen):
        raise config_error("a KeySet holds nothing but keys", fix="make each one by Key.from_pem or Key.from_jwk")
    return chosen


def _check(keys: tuple[Key, ...], *, allow_shared_kid: bool) -> None:
    if len(keys) > KEYS_LIMIT:
        raise key_refused("key_invalid", f"a set of {len(keys)} keys is too large, {KEYS_LIMIT} is the most")
    names = [(key.kid, key.alg if allow_shared_kid else "") for key in keys]
    twice = {kid for kid, alg in names if names.count((kid, alg)) > 1}
    if twice:
        raise key_refused("ambiguous_key", f"two keys of the set have the kid {shown(min(twice))}")
    if len({key.is_secret for key in keys}) > 1:
        raise key_refused("mixed_keyset", "the set holds both shared secrets and public keys")


def _marks(keys: KeySet) -> set[tuple[str, str, str]]:
    return {(key.kid, key.alg, key.thumbprint()) for key in keys}


def _kids(keys: tuple[Key, ...]) -> str:
    return ", ".join(key.label for key in keys[:4])


def _same_family(alg: str, keys: tuple[Key, ...]) -> bool:
    """Say whether a key of the set could be taken for one of this algorithm: same type, another hash or padding."""
    return any(row.kty == key.algorithm.kty for row in rows(alg) for key in keys)


def _document(jwks: Mapping[str, Any] | bytes | str) -> list[Any]:
    if isinstance(jwks, (bytes, str)):
        try:
            jwks = msgspec.json.decode(jwks)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise key_refused("key_invalid", "the key set is not JSON") from None
    entries = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(entries, list):
        raise key_refused("key_invalid", "the key set is not an object with a list of keys")
    if len(entries) > KEYS_LIMIT:
        raise key_refused("key_invalid", f"a set of {len(entries)} keys is too large, {KEYS_LIMIT} is the most")
    return entries


def _default(entry: Any, alg: str | None) -> str | None:
    return alg if isinstance(entry, Mapping) and entry.get("alg") is None else None


def _public_entry(entry: Any, alg: str | None) -> Key:
    if isinstance(entry, Mapping) and ("d" in entry or "k" in entry):
        raise key_refused("private_key_published", "the key set holds a private key or a secret")
    return Key.from_jwk(entry, alg=_default(entry, alg))

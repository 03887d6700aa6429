"""Policy: what a verifier demands of a token (RFC 8725, RFC 9068 section 4).

Strict unless told otherwise; every relaxation is a named argument. Read-only; make one and keep it, for it carries
the cache of tokens it has verified.
What may not be here: the checks themselves (rules.py), clocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from valetkey.jose.algorithms import Checker
from valetkey.jose.cache import CACHE_SIZE, Cache
from valetkey.jose.header import DEFAULT_TYPES, HeaderRules, checked_algorithms, media_type
from valetkey.jose.keyset import KeySet
from valetkey.jose.reasons import config_error, shown
from valetkey.jose.rules import NEVER, Quick, quick
from valetkey.jose.signing import TOKEN_LIMIT

LEEWAY_MOST: Final = timedelta(minutes=5)
"""Longest leeway: with more, short lifetimes mean nothing. jsonwebtoken's and Spring's users name 60 s and less."""

ISSUED_SKEW: Final = timedelta(seconds=30)
"""How far `iat` may lie ahead: clocks of honest machines differ by seconds, and `iat` restricts nothing by itself."""

MAX_LIFETIME: Final = timedelta(hours=24)
"""Longest `exp` - `iat` unless said otherwise; what large identity providers set for machine tokens at most."""


_MAY_BE_NONE: Final = frozenset({"algorithms", "typ"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """Demand of a token: genuine, in time, from `issuer`, for one of `audience`, and what else is set here.

    `scope` must all be granted, of `any_scope` one. `typ` None takes any type. `max_lifetime` None takes any.
    `algorithms` narrows those of the key set. `leeway` counts for exp, nbf, iat and max_age.
    The `allow_…` arguments, `try_all_keys` and `cache=False` are the relaxations; docs/jose.md says what each costs.
    Raises InvalidInput (code config_error) for what cannot be meant.
    """

    issuer: str
    audience: str | Iterable[str]
    algorithms: str | Iterable[str] | None = None
    typ: str | Iterable[str] | None = DEFAULT_TYPES
    scope: str | Iterable[str] = ()
    any_scope: str | Iterable[str] = ()
    scope_claim: str = "scope"
    subject: str | None = None
    required: Iterable[str] = ()
    max_age: timedelta | None = None
    max_lifetime: timedelta | None = MAX_LIFETIME
    leeway: timedelta = timedelta(0)
    max_size: int = TOKEN_LIMIT
    allow_padding: bool = False
    allow_duplicate_members: bool = False
    allow_jwe_headers: bool = False
    allow_no_expiry: bool = False
    allow_numeric_subject: bool = False
    try_all_keys: bool = False
    cache: bool | int = True

    audiences: frozenset[str] = field(init=False, repr=False)
    scopes: tuple[str, ...] = field(init=False, repr=False)
    any_scopes: tuple[str, ...] = field(init=False, repr=False)
    needed: tuple[str, ...] = field(init=False, repr=False)
    skew: float = field(init=False, repr=False)
    late: float = field(init=False, repr=False)
    longest: float = field(init=False, repr=False)
    oldest: float | None = field(init=False, repr=False)
    header: HeaderRules = field(init=False, repr=False)
    accept: Quick = field(init=False, repr=False)
    memory: Cache | None = field(init=False, repr=False)
    heads: dict[bytes, tuple[KeySet, Checker]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_times()
        settle = super().__setattr__
        self._check_lists()
        settle("audiences", frozenset(_names(self.audience, "audience")))
        self._check_names()
        settle("scopes", _scopes(self.scope))
        settle("any_scopes", _scopes(self.any_scope))
        settle("needed", _names(self.required, "required") if self.required else ())
        late = _number(self.leeway)
        settle("late", late)
        settle("skew", max(late, _number(ISSUED_SKEW)))
        settle("longest", NEVER if self.max_lifetime is None else _number(self.max_lifetime))
        settle("oldest", None if self.max_age is None else _number(self.max_age))
        settle("header", self._header_rules())
        size = CACHE_SIZE if self.cache is True else int(self.cache)
        settle("accept", quick(self))
        # Headers of genuine tokens, with the keys they chose from and the check they chose, so that they are read once.
        settle("heads", {})
        settle("memory", Cache(size) if size else None)

    def _header_rules(self) -> HeaderRules:
        return HeaderRules(
            algorithms=None if self.algorithms is None else checked_algorithms(self.algorithms),
            types=None if self.typ is None else _types(self.typ),
            allow_duplicate_members=self.allow_duplicate_members,
            allow_jwe_headers=self.allow_jwe_headers,
            try_all_keys=self.try_all_keys,
        )

    def _check_lists(self) -> None:
        for name in ("audience", "scope", "any_scope", "required", "algorithms", "typ"):
            given: object = getattr(self, name)
            if not isinstance(given, Iterable) and not (given is None and name in _MAY_BE_NONE):
                raise config_error(f"{name} is neither a name nor a list of names", fix=f"Policy({name}='…')")

    def _check_names(self) -> None:
        if type(self.issuer) is not str or not self.issuer:
            raise config_error("the policy names no issuer", fix="Policy(issuer='https://…', audience='…')")
        if not self.audiences:
            raise config_error("the policy names no audience", fix="Policy(issuer='https://…', audience='…')")
        if type(self.subject) not in {str, type(None)}:
            raise config_error("the subject is not a string")

    def _check_times(self) -> None:
        for name in ("leeway", "max_age", "max_lifetime"):
            given = getattr(self, name)
            if not isinstance(given, timedelta) and not (given is None and name != "leeway"):
                fix = f"from datetime import timedelta; Policy({name}=timedelta(seconds={shown(given)}))"
                raise config_error(f"{name} is not a timedelta", fix=fix)
        sizes: tuple[object, ...] = (self.max_size, self.cache)
        if not all(isinstance(size, int) for size in sizes):
            raise config_error("max_size and cache are whole numbers")
        if not timedelta(0) <= self.leeway <= LEEWAY_MOST:
            raise config_error(f"the leeway must lie between 0 and {LEEWAY_MOST}")
        for name, value in (("max_age", self.max_age), ("max_lifetime", self.max_lifetime)):
            if value is not None and value <= timedelta(0):
                raise config_error(f"{name} is not positive")
        if self.max_size <= 0 or int(self.cache) < 0:
            raise config_error("a size is not positive")


def _names(given: Any, what: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not all(type(name) is str and name for name in names):
        raise config_error(f"{what} holds something that is not a name")
    return names


def _types(given: Any) -> frozenset[str]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(type(name) is str for name in names):
        raise config_error("typ names no kind of token", fix="Policy(typ='at+jwt'), or typ=None to take any")
    return frozenset(media_type(name) for name in names)


def _scopes(given: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(given.split()) if isinstance(given, str) else _names(given, "scope")


def _number(span: timedelta) -> float:
    """Return seconds, whole ones as an integer: integers of any size compare without overflow."""
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds

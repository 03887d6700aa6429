"""Explain a token: every check with pass or fail, what was expected and got, and the setting that changes it.

For people and support, not for programs that let somebody in: what is shown is shortened text, the signature and
whatever looks like a secret is masked, and there is nothing to call for a claim's value. It is the only way to look
into a token that was not verified.
What may not be here: checks of its own; it runs those of header.py, verifying.py and rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from valetkey.errors import TokenRefused
from valetkey.jose import header as heads
from valetkey.jose.key import Key
from valetkey.jose.keyset import KeySet, as_keyset
from valetkey.jose.objects import load, settle
from valetkey.jose.policy import Policy
from valetkey.jose.reasons import HIDDEN, masked, shown
from valetkey.jose.rules import RULES
from valetkey.jose.signing import TOKEN_LIMIT
from valetkey.jose.verifying import as_bytes, check_clock, check_issuer_bound, check_signature
from valetkey.jose.wire import decode

T = TypeVar("T")

_MASKED: Final = (
    "secret", "passw", "passphrase", "token", "private", "credential", "assertion", "apikey", "cookie", "session"
)  # fmt: skip
"""Members with this anywhere in their name are not shown."""

_MASKED_WORDS: Final = frozenset(
    {"pwd", "pass", "pin", "otp", "jwt", "jws", "jwe", "auth", "key", "refresh", "signature"}
)
"""Nor those with such a word in it: `api_key` and `apiKey`, but not `monkey`."""

_MASKED_NAMES: Final = frozenset({"code", "k", "d", "p", "q", "dp", "dq", "qi", "oth"})
"""Nor those of just this name; the short ones are the private members of a JWK (RFC 7518 section 6)."""

_NAMED_TO_BE_SHOWN: Final = frozenset({"auth_time"})

_IDENTIFIERS: Final = frozenset(
    {"iss", "sub", "aud", "jti", "kid", "azp", "client_id", "nonce", "x5t", "x5t#S256", "at_hash", "c_hash", "s_hash"}
)
"""May be long and random, and are what a person compares."""

_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

_RANDOM_LIKE: Final = re.compile(r"[A-Za-z0-9_~+/=-]{20,}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

_MARKS: Final = {True: "ok  ", False: "FAIL", None: "-   "}


@dataclass(frozen=True, slots=True)
class Check:
    """Be one check; what it `got` shows no token.

    `ok` is None when it could not be made. `setting` is the argument of Policy that changes it.
    """

    rule: str
    ok: bool | None
    expected: str = ""
    got: str = ""
    setting: str = ""
    reason: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "got", masked(self.got))

    def to_dict(self) -> dict[str, object]:
        """Return the check for programs, without what is empty."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value != ""}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Be what `explain` found. `reason` is the one `verify` would give; empty if nothing failed.

    `header` and `claims` map names to shortened text, for reading only.
    """

    checks: tuple[Check, ...]
    header: dict[str, str]
    claims: dict[str, str]

    @property
    def ok(self) -> bool:
        """Say whether every check was made and passed, as `verify` demands."""
        return all(check.ok for check in self.checks)

    @property
    def reason(self) -> str:
        """Return the reason of the first check that failed."""
        return next((check.reason for check in self.checks if check.ok is False), "")

    @property
    def verdict(self) -> str:
        """Return accepted, refused, or unchecked where keys or policy were not given."""
        return "accepted" if self.ok else "refused" if self.reason else "unchecked"

    def to_dict(self) -> dict[str, object]:
        """Return all of it for programs."""
        found = {"verdict": self.verdict, "reason": self.reason} if self.reason else {"verdict": self.verdict}
        checks = [check.to_dict() for check in self.checks]
        return {**found, "checks": checks, "header": dict(self.header), "claims": dict(self.claims)}

    def __str__(self) -> str:
        return self.text(lambda setting: f"Policy({setting}=…)")

    def text(self, named: Callable[[str], str]) -> str:
        """Return all of it for people; `named` says how a setting is named where they are, empty if it is not there."""
        width = max(len(check.rule) for check in self.checks)
        lines = [f"verdict: {self.verdict}" + (f" ({self.reason})" if self.reason else "")]
        for check in self.checks:
            line = f"  {_MARKS[check.ok]} {check.rule:<{width}}"
            line += f"  expected {check.expected}" if check.expected else ""
            line += f"  got {check.got}" if check.got else ""
            lines.append(line)
            if check.ok is False:
                name = named(check.setting) if check.setting else ""
                setting = f"  [{name}]" if name else ""
                lines.append(f"         {check.reason}: {check.fix}{setting}")
        for title, found in (("header", self.header), (self._claims_title(), self.claims)):
            lines += [f"{title}:", *(f"  {name}: {text}" for name, text in found.items())] if found else []
        return "\n".join(lines)

    def _claims_title(self) -> str:
        """Say what the claims may be taken for: a signature that holds does not make a token one for us."""
        if self.ok:
            return "claims"
        signed = next((check.ok for check in self.checks if check.rule == "signature"), None)
        if signed is None:
            return "claims, unverified"
        if not signed:
            return "claims, and the signature is not genuine"
        return "claims, genuine but refused" if self.reason else "claims, genuine but not judged"


class _Walk:
    """Make checks one after the other, and keep what each found."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def step(
        self,
        rule: str,
        check: Callable[[], T],
        *,
        expected: str = "",
        got: Callable[[T], str] = shown,
        setting: str = "",
    ) -> T | None:
        """Make a check; return what it gives, or None after a refusal."""
        try:
            found = check()
        except TokenRefused as refusal:
            self.checks.append(
                Check(rule, False, refusal.expected or expected, refusal.got, setting, refusal.reason, refusal.fix)
            )
            return None
        self.checks.append(Check(rule, True, expected, got(found), setting))
        return found

    def skip(self, rule: str, why: str) -> None:
        """Note that a check could not be made."""
        self.checks.append(Check(rule, None, got=why))


def explain(
    token: str | bytes, policy: Policy | None = None, keys: KeySet | Key | None = None, *, now: float
) -> Explanation:
    """Return every check of a token, whether it would be accepted or not. Never raises TokenRefused.

    Without keys the signature, without a policy the claims are listed and not judged. `now` is seconds since 1970.
    Raises InvalidInput config_error for a time that is none.
    """
    walk = _Walk()
    limit = TOKEN_LIMIT if policy is None else policy.max_size
    raw = walk.step(
        "size", lambda: as_bytes(token, limit), expected=f"{limit} or less", got=_length, setting="max_size"
    )
    if raw is None:
        return Explanation(tuple(walk.checks), {}, {})
    padded = policy is not None and policy.allow_padding
    parts = walk.step(
        "form", lambda: heads.split(raw, padded=padded), got=lambda _: "three parts", setting="allow_padding"
    )
    if parts is None:
        return Explanation(tuple(walk.checks), {}, {})
    rules = heads.HeaderRules() if policy is None else policy.header
    header = _explain_header(walk, parts.header, rules)
    head = _explain_key(walk, header, keys, rules)
    loaded = walk.step("payload", lambda: load(decode(parts.payload, "payload"), "payload"), got=lambda _: "JSON")
    if head is None:
        walk.skip("signature", "no key to check it with")
    else:
        walk.step("signature", lambda: check_signature(head, parts.signed, parts.signature), got=lambda _: "genuine")
    body = None
    if loaded is not None:
        body = walk.step(
            "members",
            lambda: settle(loaded, allow_duplicates=rules.allow_duplicate_members),
            got=lambda found: f"{len(found)} claims",
            setting="allow_duplicate_members",
        )
    _explain_claims(walk, body, policy, keys, now)
    return Explanation(tuple(walk.checks), _listed(header), _listed(body))


def _explain_header(walk: _Walk, segment: bytes, rules: heads.HeaderRules) -> dict[str, Any] | None:
    header = walk.step("header", lambda: heads.parse_header(segment, rules), got=lambda found: f"{len(found)} members")
    if header is not None:
        walk.step("extensions", lambda: heads.check_extensions(header, rules), got=lambda _: "none")
        walk.step("algorithm", lambda: heads.checked_alg(header, rules), setting="algorithms")
        walk.step("type", lambda: heads.checked_typ(header, rules), setting="typ")
    return header


def _explain_key(
    walk: _Walk, header: dict[str, Any] | None, keys: KeySet | Key | None, rules: heads.HeaderRules
) -> heads.Head | None:
    if header is None or keys is None or any(check.ok is False for check in walk.checks):
        walk.skip("key", "no keys given" if keys is None else "the header was refused")
        return None
    return walk.step(
        "key",
        lambda: heads.choose(header, as_keyset(keys), rules),
        got=lambda head: shown([key.label for key in head.keys]),
    )


def _explain_claims(
    walk: _Walk, body: dict[str, Any] | None, policy: Policy | None, keys: KeySet | Key | None, now: float
) -> None:
    if body is None or policy is None:
        walk.skip("claims", "no policy given" if policy is None else "the payload was refused")
        return
    check_clock(now)
    if keys is not None and as_keyset(keys).issuer is not None:
        walk.step("keys' issuer", lambda: check_issuer_bound(as_keyset(keys), policy), got=lambda _: "matches")
    for rule in RULES:
        refusal, expected = rule.judge(body, policy, now), rule.expected(policy, now)
        got = rule.seen(body, now)
        if refusal is None:
            walk.checks.append(Check(rule.name, True, expected, got, rule.setting))
        else:
            found = refusal.expected or expected
            walk.checks.append(Check(rule.name, False, found, got, rule.setting, refusal.reason, refusal.fix))


def _length(raw: bytes) -> str:
    return f"{len(raw)} characters"


def _listed(found: dict[str, Any] | None) -> dict[str, str]:
    """Return members as text for reading; what may be a secret, by its name or by its looks, is masked."""
    return {
        shown(_veiled(name)): HIDDEN if _is_masked(name) else shown(_veiled(value, random=name not in _IDENTIFIERS))
        for name, value in (found or {}).items()
    }


def _is_masked(name: str) -> bool:
    lower = name.lower()
    if lower in _NAMED_TO_BE_SHOWN:
        return False
    bare = lower.replace("_", "").replace("-", "")
    words = {word.lower() for word in _WORDS.findall(name)}
    return lower in _MASKED_NAMES or any(part in bare for part in _MASKED) or not words.isdisjoint(_MASKED_WORDS)


def _veiled(value: object, *, random: bool = True) -> object:
    """Return a value with what looks like a token in it masked, and with `random` what looks like a key too."""
    if isinstance(value, (list, tuple)):
        return [_veiled(item, random=random) for item in value]
    if not isinstance(value, str):
        return value
    text = masked(value)
    return _RANDOM_LIKE.sub(_mask, text) if random else text


def _mask(run: re.Match[str]) -> str:
    """Mask a run of letters and digits; words, UUIDs and repetitions stay."""
    text = run[0]
    plain = not any(c.isdigit() for c in text) and (text.islower() or text.isupper())
    return text if plain or _UUID.fullmatch(text) else HIDDEN

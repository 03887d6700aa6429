"""What a policy demands of claims: a table of rules, in the order in which they are judged.

Each rule says what it expects, and refuses or does not. `verify` raises the first refusal; `explain` shows them all.
`quick(policy)` makes one function that accepts the usual token in a single expression. It never refuses: what it
does not accept is judged by the table, so the table alone decides.
What may not be here: signatures, headers, clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from valetkey.errors import TokenRefused
from valetkey.jose.reasons import refused, shown

if TYPE_CHECKING:
    from valetkey.jose.policy import Policy  # which compiles itself with `quick`

NEVER: Final = 253402300799
"""The last second of the year 9999: later moments cannot be written as a date."""

Body: TypeAlias = Mapping[str, Any]
Judge: TypeAlias = Callable[[Body, "Policy", float], TokenRefused | None]
Quick: TypeAlias = Callable[[dict[str, Any], float], float]


class Rule(NamedTuple):
    """Be one rule: the claim it is about, the setting that changes it, what it expects, and the judgement."""

    name: str
    claim: str
    setting: str
    expected: Callable[[Policy, float], str]
    judge: Judge
    got: Callable[[Any], str] = shown
    length: Callable[[Body, float], str] | None = None

    def seen(self, body: Body, now: float) -> str:
        """Return what a token has there, for people."""
        if self.length is not None:
            return self.length(body, now)
        return self.got(body[self.claim]) if self.claim in body else "none" if self.claim else ""


def _whole(now: float) -> int:
    return int(now)


def when(seconds: Any) -> str:
    """Return a NumericDate for people: UTC, to the second; what is none, as it is."""
    if not is_time(seconds) or not 0 <= seconds <= NEVER:
        return shown(seconds)
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _span(seconds: float) -> str:
    """Return a span of time for people, in its largest fitting unit."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _exact_span(seconds: float) -> str:
    """Return a span of time to the second, so that one that is a little too long does not look like the limit."""
    if seconds < 0:
        return f"-{_exact_span(-seconds)}"
    size = next((size for size in (86400, 3600, 60) if seconds >= 2 * size), 0)
    rest = int(seconds % size) if size else 0
    return f"{_span(seconds)} {_exact_span(rest)}" if rest else _span(seconds)


def is_time(value: object) -> bool:
    """Say whether a value is a NumericDate: a finite number, and not a boolean (RFC 7519 section 2)."""
    return type(value) is int or (type(value) is float and isfinite(value))


def _time_type(name: str, value: object) -> TokenRefused | None:
    if is_time(value):
        return None
    return refused("claim_type", f"{name} is not a number", claim=name, expected="seconds since 1970", got=value)


def _missing(name: str) -> TokenRefused:
    return refused("claim_missing", f"{name} is missing", claim=name)


def _exp(body: Body, policy: Policy, now: float) -> TokenRefused | None:
    if "exp" not in body:
        return None if policy.allow_no_expiry else _missing("exp")
    exp = body["exp"]
    if (wrong := _time_type("exp", exp)) is not None:
        return wrong
    # RFC 7519 section 4.1.4: "on or after which the JWT MUST NOT be accepted".
    if exp > NEVER or now < max(exp, 0) + policy.late:
        return None
    exp = max(exp, 0)
    return refused(
        "expired",
        f"the token expired {_span(now - exp)} ago",
        claim="exp",
        expected=f"after {when(now)}",
        got=when(exp),
    )


def _nbf(body: Body, policy: Policy, now: float) -> TokenRefused | None:
    if "nbf" not in body:
        return None
    nbf = body["nbf"]
    if (wrong := _time_type("nbf", nbf)) is not None:
        return wrong
    if nbf <= now + policy.late:
        return None
    return refused(
        "not_yet_valid", "the token is not valid yet", claim="nbf", expected=f"{when(now)} or before", got=when(nbf)
    )


def _iat(body: Body, policy: Policy, now: float) -> TokenRefused | None:
    if "iat" not in body:
        return None if policy.oldest is None else _missing("iat")
    iat = body["iat"]
    if (wrong := _time_type("iat", iat)) is not None:
        return wrong
    if iat > now + policy.skew:
        return refused(
            "issued_in_future",
            "the token was issued in the future",
            claim="iat",
            expected=f"{when(now)} or before",
            got=when(iat),
        )
    if policy.oldest is not None and now > max(iat, 0) + policy.oldest + policy.late:
        return refused(
            "too_old", "the token is too old", claim="iat", expected=f"{policy.oldest} s old at most", got=when(iat)
        )
    return None


def _lifetime(body: Body, policy: Policy, now: float) -> TokenRefused | None:
    exp: Any = body.get("exp")
    iat: Any = body.get("iat", _whole(now))
    if not is_time(exp) or not is_time(iat) or (exp <= NEVER and exp - max(iat, 0) <= policy.longest):
        return None
    return refused(
        "lifetime_too_long",
        "the token lives too long",
        claim="exp",
        expected=f"{_span(policy.longest)} or less",
        got=_length(body, now),
    )


def _length(body: Body, now: float) -> str:
    exp: Any = body.get("exp")
    iat: Any = body.get("iat", _whole(now))
    if not is_time(exp) or not is_time(iat) or not (0 <= exp <= NEVER and iat <= NEVER):
        return when(exp) if "exp" in body else "none"
    return _exact_span(exp - max(iat, 0))


def _iss(body: Body, policy: Policy, _now: float) -> TokenRefused | None:
    if "iss" not in body:
        return _missing("iss")
    iss = body["iss"]
    if not isinstance(iss, str):
        return refused("claim_type", "iss is not a string", claim="iss", expected=policy.issuer, got=iss)
    # RFC 8414 section 3.3 and RFC 9207: compared as they are, nothing is normalised.
    if iss == policy.issuer:
        return None
    return refused("iss_mismatch", "the token is from another issuer", claim="iss", expected=policy.issuer, got=iss)


def _aud(body: Body, policy: Policy, _now: float) -> TokenRefused | None:
    if "aud" not in body:
        return _missing("aud")
    aud = body["aud"]
    listed = (aud,) if isinstance(aud, str) else aud
    expected = sorted(policy.audiences)
    if not isinstance(listed, tuple) or not all(isinstance(name, str) for name in listed):
        return refused("claim_type", "aud is not a string or a list of strings", claim="aud", expected=expected)
    if policy.audiences.isdisjoint(listed):
        return refused("aud_mismatch", "the token is for another audience", claim="aud", expected=expected, got=aud)
    return None


def _sub(body: Body, policy: Policy, _now: float) -> TokenRefused | None:
    if "sub" not in body:
        return None if policy.subject is None else _missing("sub")
    sub = body["sub"]
    if type(sub) is int and policy.allow_numeric_subject:
        sub = str(sub)
    if not isinstance(sub, str):
        refusal = refused("claim_type", "sub is not a string", claim="sub", expected="a string", got=sub)
        refusal.fix = "the issuer must send a string; to take whole numbers, say Policy(allow_numeric_subject=True)"
        return refusal
    if not sub.isprintable():
        return refused("claim_type", "sub holds control characters", claim="sub", expected="printable text", got=sub)
    if policy.subject is None or sub == policy.subject:
        return None
    return refused("sub_mismatch", "the token is about somebody else", claim="sub", expected=policy.subject, got=sub)


def _texts(body: Body, _policy: Policy, _now: float) -> TokenRefused | None:
    for name in ("jti", "client_id"):
        value = body.get(name, "")
        if not isinstance(value, str) or not value.isprintable():
            return refused("claim_type", f"{name} is not printable text", claim=name, expected="a string", got=value)
    return None


def _scope(body: Body, policy: Policy, _now: float) -> TokenRefused | None:
    claim = policy.scope_claim
    granted = body.get(claim, "")
    if isinstance(granted, str):
        granted = granted.split(" ")
    elif claim == "scope" or not isinstance(granted, tuple):
        # RFC 8693 section 4.2: a string of scopes separated by blanks. Some issuers' own claims are lists.
        granted = ()
    missing = [scope for scope in policy.scopes if scope not in granted]
    if not missing and (not policy.any_scopes or any(scope in granted for scope in policy.any_scopes)):
        return None
    wanted = " ".join(missing or policy.any_scopes)
    return refused(
        "scope_insufficient", "the token does not grant enough", claim=claim, expected=wanted, got=body.get(claim, "")
    )


def _needed(body: Body, policy: Policy, _now: float) -> TokenRefused | None:
    return next((_missing(name) for name in policy.needed if name not in body), None)


RULES: Final = (
    Rule(
        "expiry", "exp", "leeway", lambda p, now: f"after {when(now)}" + (", or none" * p.allow_no_expiry), _exp, when
    ),
    Rule("not before", "nbf", "leeway", lambda _, now: f"{when(now)} or before, or none", _nbf, when),
    Rule(
        "issued at",
        "iat",
        "max_age",
        lambda p, _: "any" if p.oldest is None else f"{p.oldest} s old at most",
        _iat,
        when,
    ),
    Rule("lifetime", "exp", "max_lifetime", lambda p, _: f"{_span(p.longest)} or less", _lifetime, when, _length),
    Rule("issuer", "iss", "issuer", lambda p, _: p.issuer, _iss),
    Rule("audience", "aud", "audience", lambda p, _: shown(sorted(p.audiences)), _aud),
    Rule("subject", "sub", "subject", lambda p, _: p.subject or "any text", _sub),
    Rule("texts", "jti", "", lambda _p, _n: "text, or none", _texts),
    Rule("scope", "scope", "scope", lambda p, _: " ".join(p.scopes or p.any_scopes) or "any", _scope),
    Rule("required", "", "required", lambda p, _: ", ".join(p.needed) or "none", _needed),
)


def judge(body: Body, policy: Policy, now: float) -> float:
    """Return the moment from which the claims no longer count; raises TokenRefused for the first broken rule."""
    for rule in RULES:
        refusal = rule.judge(body, policy, now)
        if refusal is not None:
            raise refusal
    return good_until(body, policy)


def good_until(body: Body, policy: Policy) -> float:
    """Return the moment from which claims that were accepted no longer are, in seconds since 1970."""
    until: float = body.get("exp", NEVER) + policy.late
    if policy.oldest is not None:
        until = min(until, max(body["iat"], 0) + policy.oldest + policy.late)
    return until


def _meant(audiences: frozenset[str]) -> Callable[[object], bool]:
    def meant(aud: object) -> bool:
        if type(aud) is tuple:
            return set(map(type, aud)) == {str} and not audiences.isdisjoint(aud)
        return type(aud) is str and aud in audiences

    return meant


def _grants(wanted: tuple[str, ...]) -> Callable[[object], bool] | None:
    if not wanted:
        return None
    scopes, exactly = frozenset(wanted), " ".join(wanted)
    return lambda scope: scope == exactly or (type(scope) is str and scopes.issubset(scope.split(" ")))


def quick(policy: Policy) -> Quick:
    """Return a function that accepts the usual token at once: until when it is good, or 0 for "ask the table"."""
    issuer, late, skew, longest = policy.issuer, policy.late, policy.skew, policy.longest
    audience, meant = next(iter(policy.audiences)), _meant(policy.audiences)
    grants = _grants(policy.scopes)
    special = policy.needed or policy.any_scopes or policy.subject or policy.scope_claim != "scope"
    if special or policy.oldest is not None:
        return lambda _body, _now: 0

    def accept(body: dict[str, Any], now: float) -> float:
        try:
            exp, iat = body["exp"], body["iat"]
            if (
                type(exp) is int
                and type(iat) is int
                and body["iss"] == issuer
                and (body["aud"] == audience or meant(body["aud"]))
                and 0 <= now < exp <= NEVER
                and iat <= now + skew
                and exp - iat <= longest
                and ("nbf" not in body or (type(nbf := body["nbf"]) is int and nbf <= now))
                and ("sub" not in body or (type(sub := body["sub"]) is str and sub.isprintable()))
                and ("jti" not in body or (type(jti := body["jti"]) is str and jti.isprintable()))
                and ("client_id" not in body or (type(client := body["client_id"]) is str and client.isprintable()))
                and (grants is None or grants(body.get("scope")))
            ):
                return exp + late
        except (KeyError, TypeError):  # a time that is none, too
            pass
        return 0

    return accept

"""What a secret looks like in a text, and the text without it. Pure; a table of shapes, tried one after the other.

Three sorts are known: values that stand behind a telling name (a header, a member, a parameter), values with a known
shape wherever they stand (a JWT, ghp_…), and long random runs. Where the choice is between one word too many and one
secret too many, the word goes. Every pattern is read once from left to right: repeats are bounded or cannot overlap
with what follows them, so a hostile line costs no more than a long one.
What may not be here: logging (logs.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

LIMIT: Final = 1 << 15
"""Characters looked at in one text; the rest is left out. A token answer has a few thousand, a traceback ten."""

MASK: Final = "…"

_QUOTED: Final = r'"(?:[^"\\]|\\\\"|\\.)*"?|' + r"'(?:[^'\\]|\\.)*'?"
"""A quoted value with what is escaped in it. Behind two backslashes a double quote does not end it: so it stands where
JSON within JSON is shown by a `repr`, as in what http.client prints of a request to AWS."""

_HEADER: Final = re.compile(
    r"""((?:authorization|cookie|-key|-token|-secret|-signature|apikey|dpop)(?:['"]\s{0,4}[:=,]|\s{0,4}[:=])\s{0,4}(?:b(?=['"]))?)"""
    rf"({_QUOTED}|[^\r\n]*)",
    re.IGNORECASE | re.VERBOSE,
)
"""A header with its value, in a header block, a mapping or a list of pairs; unquoted, up to the end of the line."""

_SCHEME: Final = re.compile(
    r"\b(Bearer|Basic|DPoP|Token|Negotiate|Digest)(\s{1,4})(?!HTTP/)([A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE
)

_STRONG: Final = (
    r"secret|secret_?string|secret_?binary|tokens?|password|passwd|passphrase|private_?key|api_?key|access_?key"
    r"|assertion|code_verifier|device_code|session_?(?:id|key)|credentials?|plaintext|role_?id|secret_id|client_?proof"
)
_WEAK: Final = r"code|state|key|session|sid|sig|signature|user_code|nonce|jwt"

_NAMED: Final = re.compile(
    rf"""((?:{_STRONG}|(?P<weak>(?<![A-Za-z0-9_-])(?:{_WEAK})))
        ['"]?\s{{0,4}}(?::(?!//)|=(?!=)|%3D)\s{{0,4}}(?:b(?=['"]))?)"""
    rf"({_QUOTED}|[^\s&,;'\"<>()\[\]{{}}]+)",
    re.IGNORECASE | re.VERBOSE,
)
"""A member or parameter whose name tells that its value is secret. Weak names often stand before harmless words."""

_HARMLESS: Final = re.compile(
    r"(?:None|null|True|False|Secret\(…\)|…|\(masked\)|[0-9]{1,6}|[a-z]+(?:[_ .-][a-z]+)*|[A-Z]+(?:_[A-Z]+)*)?"
)
"""What a weak name may be followed by: nothing, a number, words of letters (an error's code, a record's state)."""

_NOTHING: Final = frozenset({"", "None", "null", "True", "False", "true", "false", MASK, "Secret(…)", "Secret"})

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}://)([^\s/?#'\"<>]*@)?([^\s?#'\"<>]*)([?#][^\s'\"<>]*)?")

_SHAPES: Final = re.compile(
    r"""(?x)
    -----BEGIN\ [A-Z ]{0,32}PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]{0,32}PRIVATE\ KEY-----|\Z)
    | (?:\b|(?<=%3D)|(?<=%22)|(?<=%20))eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}
    | \b(?:sbx_|whsec_|xox[a-z]-|xoxe\.xox[a-z]-|xapp-|gh[a-z]_|github_pat_|glpat-|shp(?:at|ca|pa|ss)_|sk_live_|sk_test_
        |rk_live_|sk-|pat-[a-z]{2}[0-9]-|GOCSPX-|ya29\.|1//|hv[sbr]\.|AKIA|ASIA|valetkey-key-1\ )[A-Za-z0-9_.+/=!-]{8,}
    | \b00D[A-Za-z0-9]{12,15}![A-Za-z0-9_.]{8,}
    """,
    re.DOTALL,
)
"""Tokens and keys that show what they are: JWTs and JWEs, the sandbox, Standard Webhooks, Slack, GitHub, GitLab,
Shopify, Stripe, HubSpot, Google, HashiCorp, AWS, our own key file, Salesforce; private keys in PEM."""

_RUN: Final = re.compile(r"[A-Za-z0-9_+/=.~%-]{20,}")
_PART: Final = re.compile(r"[A-Za-z0-9_+=~-]{20,}")
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{1,40}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Trace ids, record hashes cut short, UUIDs: harmless, and what support asks for."""


def redacted(text: str) -> str:
    """Return a text without what looks like a secret; at most LIMIT characters of it."""
    rest = len(text) - LIMIT
    if rest > 0:
        text = text[:LIMIT]
    for pattern, replace in _STEPS:
        text = pattern.sub(replace, text)
    return f"{text}… ({rest} more characters)" if rest > 0 else text


def telling(name: str) -> bool:
    """Say whether the name of a member, a header or a variable tells that its value is secret."""
    return _TELLING.fullmatch(name) is not None


_TELLING: Final = re.compile(
    rf"(?:[A-Za-z0-9_-]{{0,40}}?(?:{_STRONG})|(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z0-9-]{{0,24}}(?:key|token))",
    re.IGNORECASE,
)


def _header(found: re.Match[str]) -> str:
    return found[1] + _kept_quotes(found[2])


def _scheme(found: re.Match[str]) -> str:
    # "Basic authentication", "bearer tokens.", "token_type=Bearer expires_in=60": prose, and another member.
    prose = _WORD.fullmatch(found[3]) is not None
    return found[0] if prose else f"{found[1]}{found[2]}{MASK}"


_WORD: Final = re.compile(r"[A-Z]?[a-z]+\.?|[a-z]+(?:_[a-z]+)*=[^=].*")


def _named(found: re.Match[str]) -> str:
    value = found[3].strip("\"'")
    if value in _NOTHING or (found["weak"] and _HARMLESS.fullmatch(value)):
        return found[0]
    return found[1] + _kept_quotes(found[3])


def _kept_quotes(value: str) -> str:
    quote = value[:1] if value[:1] in {'"', "'"} else ""
    return f"{quote}{MASK}{quote}"


def _url(found: re.Match[str]) -> str:
    user = f"{MASK}@" if found[2] else ""
    query = found[4][0] + MASK if found[4] and len(found[4]) > 1 else found[4] or ""
    return f"{found[1]}{user}{found[3]}{query}"


def _run(found: re.Match[str]) -> str:
    return MASK if any(_random(part) for part in _PART.findall(found[0])) else found[0]


def _random(part: str) -> bool:
    """Say whether a run of characters looks drawn and not written: letters of both cases and digits, or long hex."""
    if _HEX.fullmatch(part):
        return False
    digits = any(c.isdigit() for c in part)
    mixed = any(c.isupper() for c in part) and any(c.islower() for c in part)
    return (digits and mixed) or (digits and len(part) > 40) or (mixed and len(part) >= 32 and "_" not in part)


_STEPS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (_SHAPES, lambda _: MASK),
    (_HEADER, _header),
    (_URL, _url),
    (_NAMED, _named),
    (_SCHEME, _scheme),
    (_RUN, _run),
)

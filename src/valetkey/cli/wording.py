"""How fixes that speak to Python programmers are worded for whoever types commands.

The library says `Policy(issuer=…)`; here that is `--issuer`. What may not be here: errors of the command line's own.
"""

from __future__ import annotations

import re
from typing import Final

SETTINGS: Final = {
    "issuer": "--issuer",
    "audience": "--audience",
    "algorithms": "",
    "typ": "--typ",
    "scope": "--scope",
    "any_scope": "--any-scope",
    "scope_claim": "",
    "subject": "--subject",
    "required": "--required",
    "max_age": "--max-age",
    "max_lifetime": "--max-lifetime",
    "leeway": "--leeway",
    "max_size": "",
    "allow_padding": "",
    "allow_duplicate_members": "",
    "allow_jwe_headers": "",
    "allow_no_expiry": "",
    "allow_numeric_subject": "",
    "try_all_keys": "",
    "cache": "",
    "allow_private": "--allow-private",
    "allow_long_lifetime": "--allow-long-lifetime",
    "alg": "--alg",
}
"""The option for each setting of Policy, and for others that fixes name; empty where only the library has it."""

SENTENCES: Final = {
    "Policy(issuer='https://…', audience='…')": "--issuer https://… --audience …",
    "Policy(typ='at+jwt'), or typ=None to take any": "--typ at+jwt",
    "load it with Key.from_pem or Key.from_jwk; a secret is random bytes and nothing else": (
        "give it with --key; --secret-file is for random bytes and nothing else"
    ),
    "use to_jwk(private=True)": "--format jwk",
    "pass it as that argument": "give it with that option",
    "correct the argument; see docs/jose.md": "correct the option; see docs/jose.md",
}
"""What cannot be put into other words piece by piece."""

_SPOKEN: Final = re.compile(
    r"(?:Policy|RemoteKeys)\((?P<setting>[a-z_]+)=[^()]*\)|\b(?P<bare>allow_[a-z_]+|alg)=(?:True|…)"
)


def option_of(setting: str) -> str:
    """Return how a setting is named on the command line: its option, or that it is the library's alone."""
    return SETTINGS[setting] or f"{setting}, a setting of the library"


def for_commands(fix: str) -> str:
    """Return a fix with options in the place of arguments."""
    return SENTENCES.get(fix) or _SPOKEN.sub(lambda found: option_of(found["setting"] or found["bare"]), fix)

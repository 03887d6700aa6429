"""How the sandbox behaves: one frozen value, and named ones drawn from real providers.

The words for refresh tokens are those of `valetkey.providers.schema.Refresh`, so that a manner and a catalogue
entry say the same thing in the same way.
What may not be here: behaviour. The endpoints read a manner; a manner does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from valetkey.errors import InvalidInput
from valetkey.providers.schema import TokenAuth

OldToken: TypeAlias = Literal["dies", "grace", "until_new_is_used", "stays"]
Pairs: TypeAlias = tuple[tuple[str, str], ...]

ALL_TOKEN_AUTH: Final[tuple[TokenAuth, ...]] = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_json",
    "client_secret_jwt",
    "private_key_jwt",
    "none",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """Be the habits of one provider. Times are seconds.

    Raises InvalidInput where two habits exclude each other.
    """

    # Refresh tokens.
    rotates: bool = True
    old_token: OldToken = "dies"  # what becomes of a refresh token that was replaced
    grace: float = 0.0  # how long a replaced one still works, with old_token="grace"
    reuse: Literal["refused", "revokes_family"] = "revokes_family"  # when one is used that works no longer
    refresh_given: Literal["always", "offline_access", "access_type", "never"] = "always"  # what one must ask for it
    refresh_lifetime: float = 0.0  # from consent, whatever is done; 0: no end
    refresh_repeated: bool = False  # a server that does not rotate sends the same refresh token again
    refresh_ends_access: bool = False  # older access tokens of the grant die with each refresh
    grants_per_user: int = 0  # with each client; the oldest ends without a word; 0: no limit

    # Answers of the token endpoint.
    expires_in: Literal["number", "text", "missing", "zero", "milliseconds"] = "number"  # zero: never expires
    answers: Literal["json", "form"] = "json"
    errors: Literal["status", "in_200", "ok_false"] = "status"  # ok_false: HTTP 200, and a member ok that is false
    nested: str = ""  # the token stands under this member
    withheld: tuple[str, ...] = ()  # scopes that are never granted, whatever is asked
    answer_params: Pairs = ()  # more members of a token answer (instance_url)
    callback_params: Pairs = ()  # more parameters of an authorization answer (realmId)

    # What it demands.
    token_auth: tuple[TokenAuth, ...] = ALL_TOKEN_AUTH  # accepted; the first is what its description names
    pkce: Literal["required", "optional"] = "required"
    code_lifetime: float = 60.0  # RFC 6749 section 4.1.2: at most ten minutes is recommended
    device_lifetime: float = 600.0
    device_interval: float = 1.0  # RFC 8628 names 5 as default; a demo is no place to wait

    def __post_init__(self) -> None:
        if self.nested and self.answers == "form":
            raise InvalidInput("a form-encoded answer cannot nest", fix='use answers="json", or leave out nested')
        if (self.old_token == "grace") != (self.grace > 0):
            raise InvalidInput('grace and old_token="grace" go together', fix="give both, or neither")


MANNERS: Final[Mapping[str, Manner]] = MappingProxyType(
    {
        # Refresh tokens: who is said to behave so stands in providers/.
        "rotating": Manner(),  # Salesforce with rotation, GitLab, Zendesk
        "rotating_refused": Manner(reuse="refused"),  # Box
        "rotating_grace": Manner(old_token="grace", grace=600.0),  # Atlassian (10 min), Xero (30 min)
        "until_new_is_used": Manner(old_token="until_new_is_used"),  # Shopify
        "old_stays": Manner(old_token="stays", reuse="refused"),  # Microsoft
        "never_rotates": Manner(rotates=False, reuse="refused"),  # Google, Dropbox, Spotify
        "same_again": Manner(rotates=False, reuse="refused", refresh_repeated=True),
        "fixed_end": Manner(rotates=False, reuse="refused", refresh_lifetime=86_400.0),  # LinkedIn, Spotify
        "access_type": Manner(rotates=False, reuse="refused", refresh_given="access_type"),  # Google
        "offline_access": Manner(refresh_given="offline_access"),  # Microsoft, Atlassian
        "no_refresh": Manner(refresh_given="never"),
        # Answers.
        "expiry_as_text": Manner(expires_in="text"),
        "expiry_missing": Manner(expires_in="missing"),  # Salesforce
        "expiry_zero": Manner(expires_in="zero", refresh_given="never"),  # Mailchimp
        "expiry_in_ms": Manner(expires_in="milliseconds"),
        "form_answers": Manner(answers="form", errors="in_200"),  # GitHub
        "errors_in_200": Manner(errors="ok_false"),  # Slack
        "nested": Manner(nested="authed_user", errors="ok_false"),  # Slack, user tokens
        "narrow_scopes": Manner(withheld=("write",)),
        "extras": Manner(
            answer_params=(("instance_url", "https://eu7.example"),), callback_params=(("realmId", "4620"),)
        ),
        # Client authentication.
        "basic_only": Manner(token_auth=("client_secret_basic", "none")),
        "post_only": Manner(token_auth=("client_secret_post", "none")),
        "json_only": Manner(token_auth=("client_secret_json", "none")),
    }
)
"""Manners by name; the comment says for whom such behaviour is known."""


def manner_of(manner: str | Manner) -> Manner:
    """Return a manner, by its name if it is one; raises InvalidInput."""
    if isinstance(manner, Manner):
        return manner
    if manner not in MANNERS:
        raise InvalidInput(f"no manner is called {manner!r}", fix=f"choose one of: {', '.join(MANNERS)}")
    return MANNERS[manner]

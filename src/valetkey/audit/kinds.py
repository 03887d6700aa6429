"""The kinds of events, in one table: what each means, and how it is written. A kind that is not here is used nowhere.

What may not be here: writing (recorder.py), and deciding that something has happened (the rooms above).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

How: TypeAlias = Literal["noted", "told", "counted"]
"""Noted: durable when the call returns. Told: durable within a second. Counted: told once, then once a minute."""


class Kind(NamedTuple):
    """Be one kind of event: how it is written, what its subject is, and what it means."""

    how: How
    subject: str
    meaning: str


def _noted(subject: str, meaning: str) -> Kind:
    return Kind("noted", subject, meaning)


def _counted(meaning: str) -> Kind:
    return Kind("counted", "connection", meaning)


KINDS: Final[dict[str, Kind]] = {
    # tokens
    "token.handed_out": _counted("a token was given to the program that asked; `part` names one that is not the main"),
    "token.injected": _counted("a token was put on a request to `host`"),
    "token.withheld": _counted("a token was kept from a request to `host`"),
    "token.refused": _counted("no token was given, and why"),
    "token.published": _noted("connection", "a token was written to `target`, where programs read it, or could not be"),
    "token.unpublished": _noted("connection", "a token was taken away from `target`, or could not be"),
    # renewing
    "refresh.started": _noted("connection", "a token is about to be asked for; nothing is sent before this is durable"),
    "refresh.finished": _noted("connection", "a new token was obtained and saved"),
    "refresh.failed": _noted("connection", "no new token was obtained, and why"),
    "refresh.recovered": _noted("connection", "a token that had waited outside the store was brought home"),
    # connecting
    "connect.started": _noted("connection", "a grant is about to be asked for, by link, by code, or at once"),
    "connect.refused": _noted("connection", "no grant came of it, and which check or whose answer refused it"),
    "connection.created": _noted("connection", "a grant was obtained and saved under a new name"),
    "connection.reconnected": _noted("connection", "a grant was obtained and took the place of the one before"),
    "connection.revoke": _noted("connection", "the provider did not take back a grant that was to be ended"),
    "connection.revoked": _noted("connection", "a connection was stopped, and is kept"),
    "connection.removed": _noted("connection", "a connection was forgotten; the reason says what became of its grant"),
    # apps and their secrets
    "app.added": _noted("app", "an app was added"),
    "app.replaced": _noted("app", "an app was changed"),
    "app.removed": _noted("app", "an app was forgotten"),
    "secret.resolved": _noted("app", "a secret was fetched from where `reference` leads"),
    "secret.unresolved": _noted("app", "a secret could not be fetched from where `reference` leads"),
    "secret.staged": _noted("app", "another secret was put beside the one in use"),
    "secret.tried": _noted("app", "the staged secret was tried on a connection, and what came of it"),
    "secret.promoted": _noted("app", "the staged secret is used from now on"),
    "secret.rolled_back": _noted("app", "the previous secret is used again"),
    "secret.turned_over": _noted("app", "the provider refused the secret in use and took the other, used from now on"),
    "secret.forgotten": _noted("app", "the secret that was not in use was dropped"),
    # publishing and telling
    "publish.added": _noted("connection", "tokens are published to `target` from now on"),
    "publish.removed": _noted("connection", "tokens are published to `target` no more"),
    "listener.added": _noted("listener", "somebody is told of news from now on"),
    "listener.removed": _noted("listener", "somebody is told no more"),
    "notice.tested": _noted("listener", "a person had something harmless told, and what came of it"),
    "notice.delivered": _noted("what the news is of", "news was taken by `listener`"),
    "notice.failed": _noted("what the news is of", "news was not taken by `listener`, and is told again later"),
    "notice.given_up": _noted("what the news is of", "news was not taken by `listener`, and is told no more"),
    # tokens of one's own
    "jwt.issued": _noted("issuer", "a token was signed; durable before it is given away"),
    "jwt.verified": Kind("counted", "issuer", "a token was taken"),
    "jwt.refused": Kind("counted", "issuer", "a token was not taken, and which check it failed"),
    # the server
    "operator.entered": Kind("told", "server", "somebody opened the pages with the operator's key or an entry link"),
    "operator.refused": Kind("told", "server", "somebody tried to, with a wrong key or a link that is used up"),
    # the vault itself
    "vault.created": _noted("vault", "the vault was made"),
    "vault.kit_made": _noted("vault", "the vault's key was shown as a recovery kit"),
    "vault.rewrap_started": _noted("vault", "the vault's key is about to be kept elsewhere"),
    "vault.rewrapped": _noted("vault", "the vault's key is kept elsewhere"),
    "vault.reseal_started": _noted("vault", "a new data key is about to be made, and every record sealed with it"),
    "vault.resealed": _noted("vault", "the records are sealed with the new data key; how many, and what was left"),
    "vault.keys_retired": _noted("vault", "older data keys are about to leave the keyring"),
    "vault.key_made": Kind("told", "vault", "a data key was worn, and a new one is used"),
    "vault.move_started": _noted("vault", "the vault is about to be moved"),
    "vault.moved": _noted("vault", "the vault was moved; in the logs of both places"),
    "vault.reopened": _noted("vault", "a vault that was moved away is used again"),
    "vault.restored": _noted("vault", "a backup was put in the vault's place"),
    # the log itself, and keys of issuers
    "audit.begun": _noted("audit", "the first line of a writer: which process it is"),
    "audit.garbled": _noted("audit", "so much of the spool of `valetkey token` does not open: it was edited or cut"),
    "audit.prune_started": _noted("audit", "lines from before `before` are about to be deleted"),
    "audit.pruned": _noted("audit", "they were deleted: so many `lines`, and `writers` with all of theirs"),
    "audit.lost": _noted("audit", "so many told events found no place while the store was down"),
    "jwks.private_key_published": _noted("issuer", "an issuer publishes a private key; its tokens are refused"),
}

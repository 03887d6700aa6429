"""What every injector does at every hop: decide, say once what was left out, and get another token after a 401.

What may not be here: HTTP clients. The files beside this one send; this one decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container
from functools import lru_cache
from typing import Final

from valetkey.errors import ValetkeyError
from valetkey.inject import rule
from valetkey.inject.rule import BY_PROXY, HeaderLines, Target
from valetkey.inject.source import AsyncSource, Source
from valetkey.values import Token
from valetkey.vault.views import Credential

_log = logging.getLogger("valetkey.inject")

UNAUTHORIZED: Final = 401

IN_VAIN_SECONDS: Final = 60.0
"""How long an API that refused a brand-new token too is not answered with yet another refresh.

Some APIs say 401 where they mean 403. Without this pause a loop over such an API would be a loop of refreshes, which
every provider limits. A token that is renewed in any other way meanwhile ends the pause.
"""

IN_VAIN_MOST: Final = 256
"""Destinations for which that is remembered at once, per injector."""

SAID_MOST: Final = 1024
"""Warnings remembered as said; a program that goes to more hosts than this hears some of them twice."""

DRAINED_MOST: Final = 64 << 10
"""Most bytes read of a 401's body so that its connection can be used again; a longer one costs the connection."""

SHOWN_HOSTS: Final = 5


class Carrier:
    """Carry one connection's token: what a request carries, hop by hop. Safe for many threads at once.

    `clock` gives seconds that only go forward.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._in_vain: dict[Target, tuple[Token, float]] = {}
        self._decided: tuple[Credential, Target, HeaderLines] | None = None

    def put(self, credential: Credential, target: Target, own: Container[str]) -> HeaderLines | None:
        """Return the header lines for one request, or None for a request that goes as the caller wrote it.

        A host the connection is not bound to gets nothing. A caller's own Authorization stays, and then nothing is
        added at all. Both are said once, with what to do.
        """
        decided = self._decided
        if decided is not None and decided[0] is credential and decided[1] == target:
            lines = decided[2]  # the keeper gives the same credential for a second: the usual request ends here
        elif rule.allowed(credential.hosts, target):
            lines = rule.headers(credential)
            self._decided = (credential, target, lines)
        else:
            _say_unbound(self.name, target, credential.hosts)
            credential.told(credential.token, target.host, "host_not_allowed")
            return None
        if "Authorization" in own:
            _say_kept(self.name, target)
            credential.told(credential.token, target.host, "authorization_kept")
            return None
        credential.told(credential.token, target.host, "")
        return lines if len(lines) == 1 else rule.missing(lines, own)

    def another(self, source: Source, credential: Credential, target: Target) -> Credential | None:
        """Return a credential with another token than the one just refused, or None if there is none to be had."""
        if self._is_in_vain(credential.token, target):
            return None
        try:
            renewed = source.renewed(self.name, rejected=credential.token)
        except ValetkeyError as refusal:
            self._say_refused(target, refusal)
            return None
        return _with(credential, renewed)

    async def another_async(self, source: AsyncSource, credential: Credential, target: Target) -> Credential | None:
        """Return a credential with another token; see `another`."""
        if self._is_in_vain(credential.token, target):
            return None
        try:
            renewed = await source.renewed(self.name, rejected=credential.token)
        except ValetkeyError as refusal:
            self._say_refused(target, refusal)
            return None
        return _with(credential, renewed)

    def replaying(self, credential: Credential, target: Target) -> HeaderLines:
        """Return the header lines for the second attempt, and tell that another token goes there."""
        lines = rule.headers(credential)
        credential.told(credential.token, target.host, "")
        return lines

    def replayed(self, credential: Credential, target: Target, status: int) -> None:
        """Remember how an API answered to a token that was renewed for it."""
        if status != UNAUTHORIZED:
            self._in_vain.pop(target, None)
            return
        if len(self._in_vain) >= IN_VAIN_MOST:
            self._in_vain.clear()
        self._in_vain[target] = (credential.token, self._clock() + IN_VAIN_SECONDS)
        _log.warning(
            "%s answered 401 to a new token of %s as well, so another refresh would not help; "
            "look at the answer's body and the connection's scopes: `valetkey connection show %s`",
            target.shown,
            self.name,
            self.name,
        )

    def _is_in_vain(self, token: Token, target: Target) -> bool:
        refused = self._in_vain.get(target)
        if refused is None or self._clock() >= refused[1]:
            return False
        return refused[0].secret == token.secret  # compared: in constant time, by Secret itself

    def _say_refused(self, target: Target, refusal: ValetkeyError) -> None:
        _log.warning(
            "%s answered 401 to the token of %s, and no other can be had now: %s [%s]; %s",
            target.shown,
            self.name,
            refusal,
            refusal.code,
            refusal.fix or "`valetkey connection show` says more",
        )


def _with(credential: Credential, renewed: Token) -> Credential | None:
    """Return the credential with the renewed token; None if it is the one that was refused."""
    if renewed.secret == credential.token.secret:  # compared: in constant time, by Secret itself
        return None
    return Credential(renewed, credential.hosts, credential.scheme, credential.headers, credential.told)


# A function that remembers its calls says a thing once, and forgets the oldest when there are too many.


@lru_cache(maxsize=SAID_MOST)
def _say_unbound(name: str, target: Target, hosts: tuple[str, ...]) -> None:
    if rule.allowed(hosts, target.over_tls()) and target.scheme.endswith(BY_PROXY):
        _log.warning(
            "%s was asked over plain http by a proxy, or by a transport that cannot be looked into, so the token of %s "
            "was not sent; use https, or set NO_PROXY=%s",
            target.shown,
            name,
            rule.canonical(target.host),
        )
        return
    if rule.allowed(hosts, target.over_tls()):
        _log.warning("%s was asked over plain http, so the token of %s was not sent; use https", target.shown, name)
        return
    from shlex import quote  # late: said once, and seldom

    # A connection's hosts are named as a whole: those of before would be lost.
    earlier = hosts if len(hosts) <= SHOWN_HOSTS else ()
    bound = ", ".join(hosts[:SHOWN_HOSTS]) + (", …" if len(hosts) > SHOWN_HOSTS else "")
    _log.warning(
        "%s is not one of the hosts of %s (%s), so its token was not sent there; "
        "if it should be: `valetkey connect %s %s`%s",
        target.shown,
        name,
        bound or "it has none",
        name,
        " ".join(f"--host {quote(host)}" for host in (*earlier, target.pattern or target.shown)),
        "" if earlier == hosts else ", with the hosts named before",
    )


@lru_cache(maxsize=SAID_MOST)
def _say_kept(name: str, target: Target) -> None:
    _log.warning(
        "a request to %s already had an Authorization header, which was kept, so the token of %s was not sent; "
        "leave the header out (requests takes one from ~/.netrc unless session.trust_env is False)",
        target.shown,
        name,
    )

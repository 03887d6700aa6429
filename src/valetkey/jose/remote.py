"""Keys that an issuer publishes: when to fetch them, what to believe, and what to do when they cannot be had.

`RemoteKeys` is the state, `verified` the plan that verifies a token with it. What it promises:

    one fetch at a time, however many ask; none within the cooldown, after a failure as after a success
    a token whose key is known never waits for a fetch, except for the first after the keys' time is over
    an issuer that is down is survived for `max_stale`; then the answer is jwks_unavailable (503), not "bad token"
    a fetched set replaces the old one; a key that is not in it any more is not believed any more
    https, no redirects, no private addresses, bounded size, number and time; keys count for their issuer only

What may not be here: threads, locks, clocks. The claim to fetch is one `dict.setdefault`, which is atomic in every
Python; whoever loses it sleeps and looks again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from valetkey.effects import Plan, note, now, send, sleep
from valetkey.errors import (
    BadAnswer,
    KeyRefused,
    ProviderError,
    ProviderTimeout,
    TokenRefused,
    UsageError,
    ValetkeyError,
)
from valetkey.jose.claims import Claims
from valetkey.jose.keyset import KEYS_LIMIT, KeySet
from valetkey.jose.policy import Policy
from valetkey.jose.published import discovery_url, lifetime, read_jwks, read_metadata
from valetkey.jose.reasons import config_error, refused
from valetkey.jose.verifying import verify
from valetkey.values import Request, Response, is_loopback, secure_url

TTL: Final = 600.0
"""Seconds that keys count when the issuer does not say; PyJWT and jose use 300 and 600."""
TTL_LEAST: Final = 60.0
TTL_MOST: Final = 6 * 3600.0
"""What an issuer's Cache-Control is held to: 0 would be a fetch per token, ten years would ignore a withdrawn key."""
MAX_STALE: Final = 24 * 3600.0
"""Seconds beyond their time that keys count while the issuer cannot be reached: a night and a working day."""
COOLDOWN: Final = 30.0
"""Seconds between fetches that tokens with unknown keys can cause (jose and PyJWT: 30)."""
FIRST_PAUSE: Final = 5.0
"""Seconds before the second try after a failure; doubled each time, up to COOLDOWN."""
TIMEOUT: Final = 5.0
"""Seconds for a fetch, discovery included. A set is a few kilobytes."""
ABANDONED: Final = TIMEOUT + 1.0
"""Seconds after which a fetch that has not ended is taken for abandoned, and another may start."""
SIZE_LIMIT: Final = 512 * 1024
"""Largest set, in bytes; a hundred RSA keys with certificates take about 300 KiB."""
DISCOVERY_TTL: Final = 24 * 3600.0
"""Seconds that the address found by discovery counts."""
REFRESH_AT: Final = 0.75
"""Share of the keys' time after which they are fetched anew in the background."""
POLLS: Final = (0.005, 0.01, 0.02, 0.04)
"""Seconds to sleep while somebody else fetches; the last one again and again."""
ROTATED: Final = frozenset({"no_matching_key", "bad_signature", "key_alg_mismatch", "alg_not_allowed"})
"""Refusals that newer keys might undo: a new key, a new algorithm, a `kid` used again for another key."""


class Known(NamedTuple):
    """Be keys that were fetched, and the moments (seconds since 1970) that bound their use."""

    keys: KeySet
    etag: str
    refresh_at: float
    fresh_until: float
    stale_until: float


class RemoteKeys:
    """Hold the keys an issuer publishes at `url`, or where its metadata says (`url` None).

    `issuer` binds them: only policies for this issuer may use them. `alg` is the algorithm of published keys that
    name none. `allow_private` is for an issuer on a private network, or behind an HTTP proxy; loopback written as
    such needs no leave. `allow_hosts` names hosts other than the issuer's that its metadata may point to.
    `max_stale` is seconds. Raises InvalidInput (code config_error) for addresses that are not https.
    """

    def __init__(
        self,
        issuer: str,
        url: str | None = None,
        *,
        alg: str | None = None,
        allow_private: bool = False,
        allow_hosts: Iterable[str] = (),
        allow_shared_kid: bool = False,
        max_stale: float = MAX_STALE,
    ) -> None:
        self.issuer = issuer
        self.url = _checked_url(url, "key set") if url is not None else ""
        self.metadata_url = "" if url is not None else _checked_url(discovery_url(issuer), "issuer")
        self.max_stale = max_stale
        self.failures = 0
        self._refusal: TokenRefused | None = None
        self._alg = alg
        self._allow_private = allow_private
        self._allow_hosts = frozenset(allow_hosts)
        self._allow_shared_kid = allow_shared_kid
        self._known: Known | None = None
        self._next_fetch = 0.0
        self._found = ("", 0.0)
        self._flights: dict[int, tuple[object, float]] = {}
        self._turn = 0

    @property
    def last_reason(self) -> str:
        """Return why the last fetch failed; empty if it did not."""
        return "" if self._refusal is None else self._refusal.reason

    def _without_keys(self) -> TokenRefused:
        """Make the refusal of a token for want of keys, with what the last fetch found wrong; for one caller."""
        found, message = self._refusal, f"no keys of {self.issuer} can be had now"
        if found is None:
            return refused("jwks_unavailable", message)
        made = refused(found.reason, f"{message}: {found.message}", claim=found.claim)
        made.expected, made.got, made.fix = found.expected, found.got, found.fix
        return made

    # ── questions, answered at once ───────────────────────────────────────────────────────────────────────────

    def ready(self, moment: float) -> KeySet | None:
        """Return the keys if their time is not over; None if `current` must be asked."""
        known = self._known
        return known.keys if known is not None and moment < known.fresh_until else None

    def due(self, moment: float) -> bool:
        """Say whether `refresh` should be run in the background."""
        known = self._known
        return known is not None and moment >= known.refresh_at and moment >= self._next_fetch and not self._flights

    def health(self, moment: float) -> dict[str, str | int | float | bool]:
        """Return the state for a health page: no key, no secret."""
        known = self._known
        state = "none" if known is None else "fresh" if moment < known.fresh_until else "stale"
        if known is not None and moment >= known.stale_until:
            state = "expired"
        skipped = () if known is None else known.keys.skipped
        return {
            "issuer": self.issuer,
            "state": state,
            "keys": 0 if known is None else len(known.keys),
            "skipped": ", ".join(sorted(set(skipped))),
            "private_key_published": "private_key_published" in skipped,
            "failures": self.failures,
            "last_reason": self.last_reason,
            "next_fetch_in": max(0.0, self._next_fetch - moment),
        }

    # ── plans ─────────────────────────────────────────────────────────────────────────────────────────────────

    def current(self) -> Plan[KeySet]:
        """Return keys that count, fetched if need be; raises TokenRefused with one of the jwks reasons."""
        for pause in _pauses():
            moment = yield from _seconds()
            known = self._known
            if known is not None and moment < known.fresh_until:
                return known.keys
            flight = self._claim(moment)
            if flight is not None:
                yield from self._fetch(flight, moment)
                known, moment = self._known, (yield from _seconds())
            if known is not None and moment < known.stale_until:
                return known.keys
            if flight is not None or (not self._flights and self._known is known):
                break
            yield from sleep(pause)
        raise self._without_keys()

    def newer(self, than: KeySet) -> Plan[KeySet | None]:
        """Return keys other than these, fetched if the cooldown allows; None if there are none."""
        for pause in _pauses():
            known = self._known
            if known is not None and known.keys is not than:
                return known.keys
            moment = yield from _seconds()
            flight = self._claim(moment)
            if flight is not None:
                yield from self._fetch(flight, moment)
            elif self._flights:
                yield from sleep(pause)
            else:
                return None
        return None

    def refresh(self) -> Plan[None]:
        """Fetch the keys if they are due and nobody else does; a failure is kept for `health`, not raised."""
        moment = yield from _seconds()
        flight = self._claim(moment) if self.due(moment) else None
        if flight is not None:
            yield from self._fetch(flight, moment)

    # ── one fetch at a time ───────────────────────────────────────────────────────────────────────────────────

    def _claim(self, moment: float) -> int | None:
        """Return the number of a flight that is ours; None in the cooldown, or while somebody else's is in the air."""
        if moment < self._next_fetch:
            return None
        turn, ticket = self._turn, object()
        owner, until = self._flights.setdefault(turn, (ticket, moment + ABANDONED))
        if owner is ticket:
            if moment >= self._next_fetch:
                return turn
            self._release(turn)  # the one before us has just landed
        elif moment >= until:
            self._release(turn)  # its owner is gone without a word, as in the child of a fork
            return self._claim(moment)
        return None

    def _release(self, flight: int) -> None:
        self._turn = max(self._turn, flight + 1)
        self._flights.pop(flight, None)

    def _fetch(self, flight: int, moment: float) -> Plan[None]:
        try:
            yield from self._fetch_keys(moment)
        except TokenRefused as refusal:
            self.failures += 1
            self._refusal = refusal.with_traceback(None)
            pause = min(COOLDOWN, FIRST_PAUSE * 2 ** min(self.failures - 1, 8))
            self._next_fetch = (yield from _seconds()) + pause
        else:
            self.failures, self._refusal = 0, None
            self._next_fetch = (yield from _seconds()) + COOLDOWN
        finally:
            self._release(flight)

    def _fetch_keys(self, started: float) -> Plan[None]:
        url = self.url or (yield from self._discovered(started))
        known = self._known
        response = yield from self._get(url, started, known.etag if known is not None else "")
        moment = yield from _seconds()
        seconds = min(max(lifetime(response, TTL), TTL_LEAST), TTL_MOST)
        if response.status == 304 and known is not None:
            keys, etag = known.keys, known.etag
        elif response.status != 200:
            raise refused("jwks_unavailable", f"the key set's address answers {response.status}", got=response.status)
        else:
            keys, etag = self._read(response), response.header("etag")[:256]
            if known is not None and keys.same_as(known.keys):
                keys = known.keys  # the very same set, so that what was verified with it still counts
        fresh = moment + seconds
        self._known = Known(keys, etag, moment + seconds * REFRESH_AT, fresh, fresh + self.max_stale)
        if keys.skipped and (known is None or keys is not known.keys):
            yield from self._alarm(keys)

    def _alarm(self, keys: KeySet) -> Plan[None]:
        """Note that the issuer publishes private keys; that the note cannot be kept is no reason to refuse tokens."""
        if "private_key_published" in keys.skipped:
            try:
                yield from note("jwks.private_key_published", self.issuer, "refused", "private_key_published")
            except ValetkeyError:
                return

    def _discovered(self, started: float) -> Plan[str]:
        """Return the address of the key set from the issuer's metadata (OpenID Discovery, RFC 8414 section 3)."""
        found, until = self._found
        if found and started < until:
            return found
        response = yield from self._get(self.metadata_url, started, "")
        if response.status != 200:
            raise refused("jwks_unavailable", f"the issuer's metadata answers {response.status}", got=response.status)
        url = read_metadata(response.body, self.issuer)
        try:
            _checked_url(url, "jwks_uri")
        except UsageError:
            raise refused("issuer_mismatch", "the jwks_uri of the metadata is not https", claim="jwks_uri") from None
        host, own = urlsplit(url).netloc, urlsplit(self.issuer).netloc
        if host != own and host not in self._allow_hosts:
            raise _elsewhere(own, host)
        self._found = (url, started + DISCOVERY_TTL)
        return url

    def _get(self, url: str, started: float, etag: str) -> Plan[Response]:
        moment = yield from _seconds()
        left = TIMEOUT - (moment - started)
        if left <= 0:
            raise refused("jwks_timeout", "the key set did not arrive in time")
        headers = {"accept": "application/jwk-set+json, application/json", **({"if-none-match": etag} if etag else {})}
        public = not (self._allow_private or is_loopback(urlsplit(url).hostname or ""))
        try:
            response = yield from send(Request("GET", url, headers, timeout=left, limit=SIZE_LIMIT, public_only=public))
        except ProviderTimeout:
            raise refused("jwks_timeout", "the key set did not arrive in time") from None
        except BadAnswer as error:
            raise refused("jwks_invalid", error.message) from None
        except (ProviderError, UsageError) as error:
            reason = "blocked_address" if error.code == "blocked_address" else "jwks_unavailable"
            raise refused(reason, error.message) from None
        if response.cut:
            raise refused("jwks_too_large", "the key set is too large", expected=f"{SIZE_LIMIT} bytes or less")
        if 300 <= response.status < 400 and response.status != 304:
            raise refused("jwks_redirect", "the key set's address redirects", got=response.status)
        return response

    def _read(self, response: Response) -> KeySet:
        document = read_jwks(response.body)
        if len(document["keys"]) > KEYS_LIMIT:
            raise refused(
                "jwks_too_large", "the key set holds too many keys", expected=KEYS_LIMIT, got=len(document["keys"])
            )
        try:
            return KeySet.from_jwks(
                document,
                alg=self._alg,
                issuer=self.issuer,
                skip_unusable=True,
                allow_shared_kid=self._allow_shared_kid,
            )
        except KeyRefused as error:
            refusal = refused("jwks_invalid", error.message, got=error.cause)
            if "key_alg_mismatch" in error.cause:  # Microsoft's keys, for one, name no algorithm
                refusal.fix = (
                    "if its keys name no algorithm, say which one the issuer documents: RemoteKeys(…, alg='RS256')"
                )
            raise refusal from None

    def __repr__(self) -> str:
        return f"<RemoteKeys of {self.issuer!r}>"


def verified(token: str | bytes, policy: Policy, remote: RemoteKeys) -> Plan[Claims]:
    """Return the claims of a token, verified with keys that its issuer publishes.

    If a key is not known, or a known one does not fit, the keys are fetched once more, at most once per cooldown.
    Raises TokenRefused; with one of the jwks reasons if no keys can be had.
    """
    keys = yield from remote.current()
    moment = yield from _seconds()
    try:
        return verify(token, keys, policy, now=moment)
    except TokenRefused as refusal:
        if refusal.reason not in ROTATED:
            raise
        newer = yield from remote.newer(keys)
        if newer is None:
            raise
    moment = yield from _seconds()
    return verify(token, newer, policy, now=moment)


def _elsewhere(own: str, host: str) -> TokenRefused:
    found = refused("issuer_mismatch", "the metadata points to another host", claim="jwks_uri", expected=own, got=host)
    found.fix = f"if the issuer's own documentation names that host, say RemoteKeys(…, allow_hosts=[{found.got!r}])"
    return found


def _seconds() -> Plan[float]:
    moment = yield from now()
    return moment.timestamp()


def _pauses() -> Iterable[float]:
    """Give the pauses of a wait that is longer than an abandoned fetch and the one after it."""
    yield from POLLS
    yield from (POLLS[-1] for _ in range(int(2 * ABANDONED / POLLS[-1])))


def _checked_url(url: Any, what: str) -> str:
    try:
        return secure_url(str(url), what)
    except UsageError as error:
        raise config_error(error.message, fix=error.fix) from None

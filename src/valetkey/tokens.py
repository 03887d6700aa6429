"""The front door to jose/: the same words, with this machine's clock, random token ids, and its network.

`sign`, `verify` and `explain` are functions. `Verifier` and `AsyncVerifier` hold a policy and keys, which may be
`RemoteKeys`: then they fetch what they need, and renew it beside the work.
What may not be here: rules of its own. Whatever is decided is decided in jose/.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from valetkey.audit.verdicts import Verdicts
from valetkey.effects import Effect, Note, Now, Send, Sleep
from valetkey.errors import InvalidInput, TokenRefused
from valetkey.jose import Claims, Explanation, Key, KeySet, Policy, RemoteKeys, verified
from valetkey.jose import explain as explain_at
from valetkey.jose import sign as sign_at
from valetkey.jose import verify as verify_at
from valetkey.jose.remote import ROTATED
from valetkey.jose.signing import LIFETIME
from valetkey.run import arun, run

if TYPE_CHECKING:
    import asyncio

    from valetkey.audit.recorder import Recorder
    from valetkey.transport import AsyncTransport, Transport

__all__ = [
    "AsyncVerifier",
    "Claims",
    "Explanation",
    "Key",
    "KeySet",
    "Policy",
    "RemoteKeys",
    "Verifier",
    "explain",
    "sign",
    "verify",
]

Keys: TypeAlias = KeySet | Key | RemoteKeys

log: Final = logging.getLogger("valetkey.jose")


def sign(  # noqa: PLR0913  # one keyword for each claim of RFC 7519 and RFC 9068, none positional
    key: Key,
    *,
    issuer: str | None = None,
    subject: str | None = None,
    audience: str | Iterable[str] | None = None,
    scope: str | Iterable[str] | None = None,
    lifetime: timedelta = LIFETIME,
    typ: str = "JWT",
    claims: Mapping[str, Any] | None = None,
    allow_long_lifetime: bool = False,
) -> str:
    """Return a signed JWT, issued now, with a random `jti` of 128 bits.

    Lives 15 minutes unless told otherwise, and 60 at most without `allow_long_lifetime`.
    Raises InvalidInput for what cannot be meant, KeyRefused if the key cannot sign.
    """
    return sign_at(
        key,
        now=time.time(),
        jti=secrets.token_urlsafe(16),
        issuer=issuer,
        subject=subject,
        audience=audience,
        scope=scope,
        lifetime=lifetime,
        typ=typ,
        claims=claims,
        allow_long_lifetime=allow_long_lifetime,
    )


def verify(token: str | bytes, keys: KeySet | Key, policy: Policy) -> Claims:
    """Return the claims of a token that is genuine and meets the policy now; raises TokenRefused."""
    return verify_at(token, keys, policy, now=time.time())


def explain(token: str | bytes, policy: Policy | None = None, keys: KeySet | Key | None = None) -> Explanation:
    """Return every check of a token with pass or fail, as of now; for people, not for letting somebody in."""
    return explain_at(token, policy, keys, now=time.time())


class Verifier:
    """Verify tokens by one policy, with keys given or fetched. Share one between all threads.

    `transport` is the one that fetches; its own if none is given, ended by `close` or `with`. Nothing is fetched
    before the first token. `audit` is told of each verdict; `Vault.verifier` makes one that is.
    Raises InvalidInput (code config_error) if the keys are those of another issuer.
    """

    def __init__(
        self, policy: Policy, keys: Keys, *, transport: Transport | None = None, audit: Recorder | None = None
    ) -> None:
        self.policy = policy
        self.keys = keys
        _check_issuer(policy, keys)
        self._world = _World(transport, audit)
        self._audit = None if audit is None else Verdicts(audit)
        self._renewing = threading.Lock()

    def verify(self, token: str | bytes) -> Claims:
        """Return the claims of a token; raises TokenRefused. Waits for a fetch only if no known key will do."""
        if self._audit is None:
            return self._verified(token)
        try:
            claims = self._verified(token)
        except TokenRefused as refusal:
            self._audit.refused(token, self.policy, refusal)
            raise
        self._audit.verified(token, claims)
        return claims

    def _verified(self, token: str | bytes) -> Claims:
        keys = self.keys
        if not isinstance(keys, RemoteKeys):
            return verify_at(token, keys, self.policy, now=time.time())
        claims = _at_once(token, self.policy, keys)
        if claims is None:
            return run(verified(token, self.policy, keys), self._world)
        if keys.due(time.time()) and self._renewing.acquire(blocking=False):
            threading.Thread(target=self._renew, args=(keys,), name="valetkey-jwks", daemon=True).start()
        return claims

    def explain(self, token: str | bytes) -> Explanation:
        """Return every check of a token, with the keys as they are known now; nothing is fetched."""
        return explain(token, self.policy, _at_hand(self.keys))

    def close(self) -> None:
        """End the connections of the transport it made for itself; one that was given stays open."""
        self._world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _renew(self, keys: RemoteKeys) -> None:
        try:
            run(keys.refresh(), self._world)
        finally:
            self._renewing.release()


class AsyncVerifier:
    """Verify tokens by one policy, with keys given or fetched, without blocking the event loop.

    Share one between all tasks of a loop, and end it with `aclose` or `async with`. If the task that fetches is
    cancelled, another of those waiting takes over.
    """

    def __init__(
        self, policy: Policy, keys: Keys, *, transport: AsyncTransport | None = None, audit: Recorder | None = None
    ) -> None:
        self.policy = policy
        self.keys = keys
        _check_issuer(policy, keys)
        self._world = _AsyncWorld(transport, audit)
        self._audit = None if audit is None else Verdicts(audit)
        self._renewing: asyncio.Task[None] | None = None

    async def verify(self, token: str | bytes) -> Claims:
        """Return the claims of a token; raises TokenRefused. Waits for a fetch only if no known key will do."""
        if self._audit is None:
            return await self._verified(token)
        try:
            claims = await self._verified(token)
        except TokenRefused as refusal:
            self._audit.refused(token, self.policy, refusal)
            raise
        self._audit.verified(token, claims)
        return claims

    async def _verified(self, token: str | bytes) -> Claims:
        keys = self.keys
        if not isinstance(keys, RemoteKeys):
            return verify_at(token, keys, self.policy, now=time.time())
        claims = _at_once(token, self.policy, keys)
        if claims is None:
            return await arun(verified(token, self.policy, keys), self._world)
        if keys.due(time.time()) and (self._renewing is None or self._renewing.done()):
            import asyncio

            self._renewing = asyncio.create_task(arun(keys.refresh(), self._world), name="valetkey-jwks")
        return claims

    def explain(self, token: str | bytes) -> Explanation:
        """Return every check of a token, with the keys as they are known now; nothing is fetched."""
        return explain(token, self.policy, _at_hand(self.keys))

    async def aclose(self) -> None:
        """End the fetch in the background, and the connections of the transport it made for itself."""
        if self._renewing is not None:
            self._renewing.cancel()
        await self._world.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _at_once(token: str | bytes, policy: Policy, remote: RemoteKeys) -> Claims | None:
    """Return the claims if the keys at hand will do; None if the plan must be asked, which may fetch newer ones."""
    moment = time.time()
    keys = remote.ready(moment)
    if keys is None:
        return None
    try:
        return verify_at(token, keys, policy, now=moment)
    except TokenRefused as refusal:
        if refusal.reason not in ROTATED:
            raise
        return None


def _check_issuer(policy: Any, keys: Any) -> None:
    """Refuse keys of another issuer when the program starts, and not with the first token."""
    if not isinstance(policy, Policy) or not isinstance(keys, (Key, KeySet, RemoteKeys)):
        raise InvalidInput(
            "a verifier is made of a policy and keys",
            code="config_error",
            fix="Verifier(Policy(…), KeySet([…])), or Verifier(Policy(…), RemoteKeys(issuer))",
        )
    issuer = policy.issuer if isinstance(keys, Key) else keys.issuer or policy.issuer
    if issuer != policy.issuer:
        raise InvalidInput(
            f"the keys are those of {issuer}, and the policy is for {policy.issuer}",
            code="config_error",
            fix="give both the same issuer, character by character",
        )


def _at_hand(keys: Keys) -> KeySet | Key | None:
    return keys.ready(time.time()) if isinstance(keys, RemoteKeys) else keys


class _World:
    """Answer the questions of the plans of jose/: the network, the clock, and the log for alarms."""

    def __init__(self, transport: Transport | None, audit: Recorder | None) -> None:
        self._transport = transport
        self._audit = audit
        self._given = transport is not None

    def close(self) -> None:
        if self._transport is not None and not self._given:
            self._transport.close()
            self._transport = None

    def answer(self, question: Effect) -> Any:
        match question:
            case Send(request):
                if self._transport is None:
                    from valetkey.transport import Transport  # late: many verifiers never fetch

                    self._transport = Transport()
                return self._transport.send(request)
            case Sleep(seconds):
                time.sleep(seconds)
                return None
            case _:
                return _answer(question, self._audit)


class _AsyncWorld:
    """Answer the same questions without blocking."""

    def __init__(self, transport: AsyncTransport | None, audit: Recorder | None) -> None:
        self._transport = transport
        self._audit = audit
        self._given = transport is not None

    async def aclose(self) -> None:
        if self._transport is not None and not self._given:
            await self._transport.aclose()
            self._transport = None

    async def answer(self, question: Effect) -> Any:
        match question:
            case Send(request):
                if self._transport is None:
                    from valetkey.transport import AsyncTransport  # late: many verifiers never fetch

                    self._transport = AsyncTransport()
                return await self._transport.send(request)
            case Sleep(seconds):
                import asyncio

                await asyncio.sleep(seconds)
                return None
            case _:
                return _answer(question, self._audit)


def _answer(question: Effect, audit: Recorder | None) -> datetime | None:
    match question:
        case Now():
            return datetime.now(UTC)
        case Note(event):
            log.critical("%s %s: %s", event.kind, event.subject, event.reason)
            if audit is not None:
                audit.note(event)
            return None
        case _:
            message = f"a plan of jose/ asked for {type(question).__name__}"
            raise TypeError(message)

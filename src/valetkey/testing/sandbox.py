"""The face of the sandbox: start it, ask what it holds, make it go wrong, let time pass.

What may not be here: the protocol (the files beside this one).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Self

from valetkey.errors import InvalidInput, RequestRefused
from valetkey.providers.schema import Provider
from valetkey.testing import wire
from valetkey.testing.browser import Browser
from valetkey.testing.clients import SandboxClient, preregistered
from valetkey.testing.description import describe
from valetkey.testing.desk import ENDPOINTS, Asking, Desk, Fault
from valetkey.testing.driver import HOST, Driver
from valetkey.testing.manner import Manner, manner_of
from valetkey.testing.realm import Realm
from valetkey.values import Response, Secret


class Sandbox:
    """Be an authorization server and a protected API on loopback, with the manners and faults of real providers.

        with Sandbox(manner="rotating", access_lifetime=2.0) as sandbox:
            answer = sandbox.login(url_of_your_authorization_request, user="alice")

    It listens on 127.0.0.1 only, keeps everything in memory, and says nothing. Every name and password is let in.
    After `stop()` it can be started again on the same port with all it knew: so a provider goes down and comes back.

    `manner` is a name of `MANNERS` or a Manner; `access_lifetime` is seconds; `port` 0 takes a free one.
    `client_secrets` sets secrets by client id (else random); `redirect_uris` are registered for sandbox-web and
    sandbox-cli beside the loopback ones; `clients` are registered beside the three that are always there;
    `clock` gives seconds since 1970; `access_log` is told one line per request, without its query.
    Raises InvalidInput.
    """

    def __init__(
        self,
        manner: str | Manner = "rotating",
        *,
        access_lifetime: float = 3600.0,
        port: int = 0,
        client_secrets: Mapping[str, str] = MappingProxyType({}),
        redirect_uris: Iterable[str] = (),
        clients: Iterable[SandboxClient] = (),
        clock: Callable[[], float] = time.time,
        access_log: Callable[[str], None] | None = None,
    ) -> None:
        if access_lifetime <= 0:
            raise InvalidInput("access_lifetime must be more than 0 seconds", fix="let time pass with advance()")
        self._port = port
        self._clock = clock
        self._ahead = 0.0
        self._access_log = access_log
        self._driver: Driver | None = None
        realm = Realm(
            manner=manner_of(manner),
            clients=MappingProxyType(preregistered(client_secrets, redirect_uris, clients)),
            access_lifetime=access_lifetime,
            clock=self._now,
            wall=clock,
            luck=secrets.token_bytes,
        )
        self._desk = Desk(realm)

    def __repr__(self) -> str:
        return f"<Sandbox {self._desk.realm.issuer if self._driver else 'stopped'}>"

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> Self:
        """Listen, in a thread of its own; returns when it can be asked. Raises OSError if the port is taken."""
        if self._driver is None:
            driver = Driver(self._port, self._desk.answer, self._access_log)
            self._port = driver.port
            self._desk.realm.issuer = f"http://{HOST}:{self._port}"
            driver.start()
            self._driver = driver
        return self

    def stop(self) -> None:
        """Stop listening and cut what is open; what it knows is kept."""
        if self._driver is not None:
            self._driver.stop()
            self._driver = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Return the port; raises InvalidInput before the first start."""
        if not self._desk.realm.issuer:
            raise InvalidInput("the sandbox was not started", fix="call start(), or use it in a with statement")
        return self._port

    @property
    def url(self) -> str:
        """Return the address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def issuer(self) -> str:
        """Return the issuer identifier (RFC 8414 section 2); it is the address."""
        return self.url

    @property
    def manner(self) -> Manner:
        """Return how it behaves."""
        return self._desk.realm.manner

    @property
    def clients(self) -> Mapping[str, SandboxClient]:
        """Return the registered clients by id: sandbox-web, sandbox-cli, sandbox-machine, and those you gave."""
        return self._desk.realm.clients

    def provider(self) -> Provider:
        """Describe it as a catalogue entry: its key is `sandbox`, its refresh semantics those of the manner."""
        return describe(self.url, self.manner)

    # ── what happened ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def log(self) -> list[Asking]:
        """Return what was asked so far, the oldest first (at most the last 10,000). Nothing in it is secret."""
        with self._desk.lock:
            return list(self._desk.log)

    def count(self, what: str, outcome: str = "") -> int:
        """Count requests by grant ("refresh_token") or endpoint ("token", "api"), of all outcomes or of one ("ok")."""
        with self._desk.lock:
            counts = list(self._desk.counts.items())
        return sum(n for (at, grant, became), n in counts if what in {at, grant} and outcome in {"", became})

    def grant_alive(self, user: str) -> bool:
        """Say whether the user (or machine client) still has a grant that was not revoked."""
        with self._desk.lock:
            return bool(self._desk.realm.books.alive(user))

    # ── changing secrets ──────────────────────────────────────────────────────────────────────────────────────

    def add_secret(self, client: str) -> Secret:
        """Make one more secret for a confidential client, as a provider's console does; those it has stay good."""
        made = Secret(secrets.token_urlsafe(32))
        self._change(client, lambda held: replace(held, further=(*held.further, made)))
        return made

    def end_secret(self, client: str, secret: Secret) -> None:
        """End a secret of a client: whoever proves himself with it is told invalid_client from now on."""

        def without(held: SandboxClient) -> SandboxClient:
            left = [one for one in held.secrets if one != secret]  # compared: by Secret, in constant time
            return replace(held, secret=left[0] if left else Secret(secrets.token_urlsafe(32)), further=tuple(left[1:]))

        self._change(client, without)

    def _change(self, client: str, change: Callable[[SandboxClient], SandboxClient]) -> None:
        with self._desk.lock:
            realm = self._desk.realm
            held = realm.clients.get(client)
            if held is None or held.secret is None:
                raise InvalidInput(
                    f"the sandbox has no client {client!r} with a secret", fix="sandbox-web, for example"
                )
            realm.clients = MappingProxyType({**realm.clients, client: change(held)})

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _now(self) -> float:
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass for the sandbox; nobody else's clock moves. Raises InvalidInput for less than 0."""
        if seconds < 0:
            raise InvalidInput("time does not go back", fix="give 0 or more seconds")
        with self._desk.lock:
            self._ahead += seconds

    def expire_access_tokens(self) -> int:
        """Let every access token given out so far be expired; returns how many were still good."""
        with self._desk.lock:
            now = self._now()
            living = [token for token in self._desk.realm.books.access.all() if token.lives(now)]
            for token in living:
                token.expires = now
            return len(living)

    def revoke(self, user: str = "", client: str = "") -> int:
        """End the grants of a user, a client, or both (all, if neither is named); returns how many were alive.

        So it looks when a person withdraws an app at the provider: tokens die, and a refresh says invalid_grant.
        """
        with self._desk.lock:
            living = self._desk.realm.books.alive(user, client)
            for grant in living:
                grant.ended = "revoked by the person"
            return len(living)

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────────
    #
    # Each takes the next request at an endpoint (`at`: a name of the log, or "any"); orders are met in turn.

    def fail_next(
        self,
        n: int = 1,
        status: int = 503,
        retry_after: float | None = None,
        *,
        error: str = "temporarily_unavailable",
        at: str = "token",
    ) -> None:
        """Answer the next `n` requests with an error, without looking at them."""
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        told = {"error": error, "error_description": "ordered by fail_next"}
        self._order(n, Fault("fail", at, response=wire.json(told, status, headers)))

    def html_next(self, n: int = 1, *, status: int = 200, at: str = "token") -> None:
        """Answer the next `n` requests with a page of HTML, as a captive portal or a broken proxy does."""
        page = b"<!doctype html><title>Welcome</title><p>Please accept the terms of this network.</p>"
        self._order(n, Fault("html", at, response=Response(status, {"content-type": "text/html"}, page)))

    def slow_next(self, seconds: float, n: int = 1, *, at: str = "token") -> None:
        """Obey the next `n` requests at once, and answer them `seconds` later."""
        self._order(n, Fault("slow", at, delay=seconds))

    def drop_next_answer(self, n: int = 1, *, at: str = "token") -> None:
        """Obey the next `n` requests, then cut the connection instead of answering: the lost answer."""
        self._order(n, Fault("drop", at, cut=True))

    def clear_faults(self) -> int:
        """Forget the faults that nobody met yet; returns how many."""
        with self._desk.lock:
            waiting = len(self._desk.faults)
            self._desk.faults.clear()
            return waiting

    def _order(self, n: int, fault: Fault) -> None:
        if fault.at != "any" and fault.at not in ENDPOINTS:
            raise InvalidInput(
                f"no endpoint is called {fault.at!r}", fix=f"one of: any, {', '.join(sorted(ENDPOINTS))}"
            )
        with self._desk.lock:
            self._desk.faults.extend([fault] * n)

    # ── the person ────────────────────────────────────────────────────────────────────────────────────────────

    def login(self, url: str, user: str = "alice", *, allow: bool = True) -> str:
        """Log in and decide at the pages, as a person would; returns the address the browser is sent back to.

        That address is not visited. Raises RequestRefused, with the error's code, if a page shows an error instead.
        """
        with Browser() as browser:
            end = browser.visit(url, _person(user, allow=allow))
        if isinstance(end, str):
            return end
        raise RequestRefused(f"the sandbox showed an error: {end.error}", code=end.error or "no_redirect")

    def approve_device(self, user_code: str, user: str = "alice", *, allow: bool = True) -> None:
        """Type a device's code and decide, as a person would; raises RequestRefused if no device waits with it."""
        with Browser() as browser:
            end = browser.visit(f"{self.url}/device", {**_person(user, allow=allow), "user_code": user_code})
        if isinstance(end, str) or end.status != 200:
            raise RequestRefused("no device waits with this code", code="unknown_user_code")


def _person(user: str, *, allow: bool) -> dict[str, str]:
    return {"login": user, "password": "any will do", "decision": "allow" if allow else "deny"}

"""The whole sandbox as one function from a request to an answer: routes, faults, log. No sockets.

One lock makes every request one step, as a database would. What may not be here: threads, waiting, the network.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from valetkey.errors import RequestRefused
from valetkey.testing import api, authorize, device, lookup, pages, token, wire
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask
from valetkey.values import Request, Response, is_loopback

LOG_LIMIT: Final = 10_000
"""Most lines of the log that are kept; the counters go on."""

Endpoint: TypeAlias = Callable[[Realm, Ask], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """Be one path: its name in log and faults, its methods, and whether errors are shown on a page."""

    name: str
    methods: tuple[str, ...]
    endpoint: Endpoint
    page: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Be one line of the log: who asked for what, and what became of it. Nothing in it is secret.

    `outcome` is ok, an error code, or fault; `fault` names the fault that was ordered for this request.
    """

    at: datetime
    method: str
    endpoint: str
    status: int
    outcome: str
    grant: str = ""
    client: str = ""
    user: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Be something that goes wrong on purpose, once. With `response` the request is not even looked at."""

    kind: str
    at: str
    response: Response | None = None
    delay: float = 0.0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """Be an answer and how it is brought: after `delay` seconds, or not at all (`cut`)."""

    response: Response
    delay: float = 0.0
    cut: bool = False


def _home(realm: Realm, ask: Ask) -> Response:
    del ask
    return pages.home(realm.issuer, [(client.id, client.name) for client in realm.clients.values()])


def _health(realm: Realm, ask: Ask) -> Response:
    del ask
    return wire.json({"status": "ok", "issuer": realm.issuer})


READ: Final = ("GET", "HEAD")
FORM: Final = ("GET", "HEAD", "POST")
ANY: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

ROUTES: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "/": Route("home", READ, _home, page=True),
        "/health": Route("health", READ, _health),
        "/.well-known/oauth-authorization-server": Route("metadata", READ, lookup.metadata),
        "/.well-known/openid-configuration": Route("metadata", READ, lookup.metadata),
        "/authorize": Route("authorize", FORM, authorize.authorize, page=True),
        "/token": Route("token", ("POST",), token.token),
        "/device_authorization": Route("device_authorization", ("POST",), device.device_authorization),
        "/device": Route("device", FORM, device.device, page=True),
        "/revoke": Route("revoke", ("POST",), lookup.revoke),
        "/introspect": Route("introspect", ("POST",), lookup.introspect),
        "/api/whoami": Route("api", READ, api.whoami),
        "/api/echo": Route("api", ANY, api.echo),
        "/api/redirect": Route("api", ANY, api.elsewhere),
    }
)

ENDPOINTS: Final = frozenset(route.name for route in ROUTES.values())


class Desk:
    """Answer requests one at a time, go wrong when told to, and keep the log."""

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.lock = threading.RLock()
        self.log: deque[Asking] = deque(maxlen=LOG_LIMIT)
        self.counts: Counter[tuple[str, str, str]] = Counter()  # endpoint, grant, outcome
        self.faults: list[Fault] = []

    def __repr__(self) -> str:
        return f"<Desk of {self.realm.issuer}>"

    def answer(self, request: Request) -> Delivery:
        """Answer one request."""
        with self.lock:
            path = urlsplit(request.url).path or "/"
            route = ROUTES.get(path)
            fault = self._fault(route.name if route else "")
            ask, response = self._served(request, route, fault)
            self._note(request.method, route, ask, response, fault)
        if fault is None:
            return Delivery(response)
        return Delivery(response, fault.delay, fault.cut)

    def _served(self, request: Request, route: Route | None, fault: Fault | None) -> tuple[dict[str, str], Response]:
        """Return what the log is told, and the answer."""
        try:
            ask = wire.read_ask(request)
        except RequestRefused as refused:
            return {"outcome": refused.code}, wire.error(refused)
        if fault is not None and fault.response is not None:
            return _glimpse(ask) | {"outcome": "fault"}, fault.response
        try:
            return ask.trace, self._dispatch(ask, route)
        except RequestRefused as refused:
            trace = ask.trace | {"outcome": refused.code}
            if route is not None and route.page:
                return trace, pages.sorry(refused.code, refused.message, refused.status)
            return trace, wire.error(refused)

    def _dispatch(self, ask: Ask, route: Route | None) -> Response:
        # A page of another site may have its own name resolve to this address; then it asks under that name.
        if not is_loopback(_host(ask.header("host"))):
            raise wire.refuse("misdirected", "this server is asked as 127.0.0.1 or localhost", status=421)
        if route is None:
            raise wire.refuse("not_found", "there is nothing at this address", status=404)
        if ask.method not in route.methods:
            ask.trace["outcome"] = "method_not_allowed"
            return wire.json({"error": "method_not_allowed"}, 405, {"allow": ", ".join(route.methods)})
        return route.endpoint(self.realm, ask)

    def _fault(self, name: str) -> Fault | None:
        due = next((fault for fault in self.faults if fault.at in {name, "any"}), None)
        if due is not None:
            self.faults.remove(due)
        return due

    def _note(
        self, method: str, route: Route | None, trace: Mapping[str, str], response: Response, fault: Fault | None
    ) -> None:
        line = Asking(
            at=datetime.fromtimestamp(self.realm.clock(), UTC),
            method=method if method in ANY else "other",
            endpoint=route.name if route else "",
            status=response.status,
            outcome=trace.get("outcome", "ok"),
            grant=trace.get("grant", ""),
            client=trace.get("client", ""),
            user=trace.get("user", ""),
            fault=fault.kind if fault else "",
        )
        self.log.append(line)
        self.counts[line.endpoint, line.grant, line.outcome] += 1


def _glimpse(ask: Ask) -> dict[str, str]:
    """Say which grant a request was about that is not looked at further."""
    try:
        return {"grant": wire.GRANTS.get(wire.read_form(ask)("grant_type"), "")}
    except RequestRefused:
        return {}


def _host(header: str) -> str:
    """Return the host of a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""

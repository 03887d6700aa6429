"""Put a token on the requests of requests: an adapter, which sees every hop, and a short form for `auth=`.

    session = vault.session("google/alice")                       # a requests.Session with the adapter mounted
    requests.get(url, auth=vault.requests_auth("google/alice"))   # the short form

The adapter sends a copy of the request that carries the token, so the session's own request, its history and its
redirects never hold it. What may not be here: the rule (rule.py) and the decisions (carrier.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from valetkey.inject import rule
from valetkey.inject.carrier import DRAINED_MOST, UNAUTHORIZED, Carrier
from valetkey.inject.quiet import OF_REQUESTS
from valetkey.inject.replay import Rewind, bookmark, nothing_to_rewind
from valetkey.inject.rule import BY_PROXY, HeaderLines, Target
from valetkey.inject.source import Source
from valetkey.redaction import guard
from valetkey.values import Secret
from valetkey.vault.views import Credential

MOUNTED: Final = ("https://", "http://")
"""Both: a redirect from one to the other is a hop too, and the adapter is what keeps the token from it."""


class Adapter(BaseAdapter):
    """Send through `inner` (default: requests' HTTPAdapter()), with the connection's token where it may go.

    Mount it on "https://" and "http://", or let `session` do it. Requests raise the errors of requests, and those of
    `Keeper.token` where there is no token to send.
    """

    def __init__(self, source: Source, name: str, inner: BaseAdapter | None = None) -> None:
        super().__init__()
        guard(OF_REQUESTS)
        self._source = source
        self._carrier = Carrier(name)
        self._inner = inner if inner is not None else HTTPAdapter()

    def send(  # type: ignore[override]  # requests passes all but the first by name; so must whoever else calls this
        self,
        request: requests.PreparedRequest,
        *,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one hop, and once more with another token if the API refuses the first."""
        way = {"stream": stream, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        credential, target = self._source.credential(self._carrier.name), _target(request, proxies)
        put = self._carrier.put(credential, target, request.headers)
        if put is None:
            return self._send(request, request, way)
        rewind = _rewind_of(request)
        response = self._send(request, _carrying(request, put), way)
        if response.status_code != UNAUTHORIZED:
            return response
        try:
            other = self._carrier.another(self._source, credential, target)
            if other is None or rewind is None or not rewind():
                return response
            put = rule.missing(self._carrier.replaying(other, target), request.headers)
        except BaseException:
            response.close()
            raise
        _discard(response)
        response = self._send(request, _carrying(request, put), way)
        self._carrier.replayed(other, target, response.status_code)
        return response

    def _send(
        self, asked: requests.PreparedRequest, sent: requests.PreparedRequest, way: dict[str, Any]
    ) -> requests.Response:
        """Send one request; what comes back, an error too, knows only the request that was asked for."""
        try:
            response = self._inner.send(sent, **way)
        except requests.RequestException as failure:
            failure.request = asked
            raise
        response.request = asked
        response.connection = self  # type: ignore[assignment]  # hooks such as HTTPDigestAuth's need no more than `send`
        return response

    def close(self) -> None:
        """Close the inner adapter."""
        self._inner.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._carrier.name} over {type(self._inner).__name__}>"


class Auth(AuthBase):
    """Be the short form: `auth=` of a session or of one request.

    requests runs this once and its redirects below, dropping Authorization where they lead to another host. So it sets
    Authorization and no provider header, a redirect to another of the connection's hosts goes without the token, and
    the header stands in `response.request`. Over plain http it sets nothing where the environment names a proxy;
    proxies that are given to requests cannot be seen here, so with them take the adapter.
    """

    def __init__(self, source: Source, name: str) -> None:
        guard(OF_REQUESTS)
        self._source = source
        self._carrier = Carrier(name)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on, and see to it that a refusal is answered with another one."""
        # requests settles the proxies after this; those of the environment can be known, those of `proxies=` cannot.
        credential, target = self._source.credential(self._carrier.name), _target(request, _of_environment(request))
        put = self._carrier.put(credential, target, request.headers)
        if put is None:
            return request
        written = Secret(put["Authorization"])
        request.headers["Authorization"] = put["Authorization"]
        rewind = _rewind_of(request)

        def answered(response: requests.Response, **way: Any) -> requests.Response:
            # The hook is called at every hop; only a hop that still carries the token has been refused it.
            carried = _authorization(response.request) == written  # compared: by Secret itself, in constant time
            if response.status_code != UNAUTHORIZED or not carried:
                return response
            return self._again(response, credential, rewind, way)

        request.register_hook("response", answered)  # type: ignore[no-untyped-call]  # the stubs leave it open
        return request

    def _again(
        self, response: requests.Response, credential: Credential, rewind: Rewind | None, way: dict[str, Any]
    ) -> requests.Response:
        target = _target(response.request, way.get("proxies"))
        try:
            other = self._carrier.another(self._source, credential, target)
            if other is None or not rule.allowed(other.hosts, target) or rewind is None or not rewind():
                return response
        except BaseException:
            response.close()
            raise
        again = response.request.copy()
        again.headers["Authorization"] = self._carrier.replaying(other, target)["Authorization"]
        adapter = response.connection
        _discard(response)
        response = adapter.send(again, **way)
        self._carrier.replayed(other, target, response.status_code)
        return response

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._carrier.name}>"


class Session(requests.Session):
    """Be a Session whose every request goes through an Adapter, and which takes no password from ~/.netrc.

    requests looks there for each host it goes to, and would put what it finds in the place of the token.
    """

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        for prefix in MOUNTED:
            self.mount(prefix, adapter)
        self.auth = _as_it_is  # a session with an `auth` of its own does not look there for the first hop

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Let a redirected request have the Authorization it had, if it may keep it, and no other."""
        had_one = "Authorization" in prepared_request.headers
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # the stubs leave it open
        if not had_one:
            prepared_request.headers.pop("Authorization", None)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _authorization(request: requests.PreparedRequest) -> Secret:
    return Secret(str(request.headers.get("Authorization", "")))


def _of_environment(request: requests.PreparedRequest) -> Mapping[str, str]:
    """Return the proxies that the environment has for a request over plain http, the only one that asks for them."""
    url = request.url or ""
    return get_environ_proxies(url) if url.lower().startswith("http:") else {}


def _target(request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> Target:
    """Return where a request goes, read the way HTTPAdapter reads it when it connects."""
    url = request.url or ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return Target("", "", None)  # no token for it; the inner adapter has its own error for what is no URL
    scheme = parts.scheme.lower()
    if scheme == "http" and proxies and select_proxy(url, proxies):
        # Loopback over plain http is trusted because it stays here; by a proxy it would not.
        scheme += BY_PROXY
    return Target(scheme, host, port)


def _carrying(request: requests.PreparedRequest, put: HeaderLines) -> requests.PreparedRequest:
    """Return a copy of the request with our header lines; its body is the same object."""
    carrying = requests.PreparedRequest.__new__(type(request))  # copy.copy goes through pickling, and takes 5 µs
    carrying.__dict__.update(request.__dict__)
    carrying.headers = request.headers.copy()
    carrying.headers.update(put.items())
    return carrying


def _rewind_of(request: requests.PreparedRequest) -> Rewind | None:
    """Return how to wind a body back; None for generators and whatever else can be read once."""
    body: object = request.body  # the stubs know no bodies but text and bytes
    if body is None or isinstance(body, str | bytes):
        return nothing_to_rewind
    return bookmark([body])


def _discard(response: requests.Response) -> None:
    """Read what is left of a short answer, so that its connection is used again, and close it."""
    with suppress(HTTPError, OSError):
        response.raw.read(DRAINED_MOST, decode_content=False)
    response.close()

"""How a token gets onto a request of httpx: decided once, and for those after it to the same place found the same.

What may not be here: sending, and what to do with answers (httpx.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeAlias

import httpx

from valetkey.audit.who import WHO
from valetkey.inject import rule
from valetkey.inject.carrier import Carrier
from valetkey.inject.replay import Rewind, bookmark, nothing_to_rewind
from valetkey.inject.rule import BY_PROXY, HeaderLines, Target
from valetkey.vault.views import Credential

HTTPX_OWN: Final = frozenset({httpx.HTTPTransport, httpx.AsyncHTTPTransport})


def target_of(request: httpx.Request, *, direct: bool) -> Target:
    """Return where a request goes; `direct` says that plain http would go there by no proxy."""
    url = request.url
    scheme = url.scheme if direct or url.scheme in rule.ENCRYPTED else url.scheme + BY_PROXY
    return Target(scheme, url.raw_host.decode("ascii"), url.port)


def _is_listed() -> bool:
    """Say whether httpx keeps header lines as it did when this was written; where not, each is set the public way."""
    return vars(httpx.Headers({"Name": "value"})) == {"_list": [(b"Name", b"name", b"value")], "_encoding": None}


LISTED: Final = _is_listed()


def _copied(request: httpx.Request) -> httpx.Request:
    """Return a copy of the request, with headers of its own.

    copy.copy would go through httpx's pickling, which drops the body; Request(…) would read the URL again.
    """
    copied = httpx.Request.__new__(httpx.Request)
    copied.__dict__.update(request.__dict__)
    copied.headers = httpx.Headers(request.headers)  # of its own kind: then it copies and does not read them again
    return copied


def _copied_for_httpx(request: httpx.Request) -> httpx.Request:
    """Return a copy with all that httpx's own transports read, and without what a caller may have put on it for others.

    Attributes one by one, in the order of the constructor: CPython reads an object whose __dict__ was touched the slow
    way, and here that would be the caller's request too.
    """
    copied = httpx.Request.__new__(httpx.Request)
    copied.method, copied.url, copied.headers = request.method, request.url, httpx.Headers(request.headers)
    copied.extensions, copied.stream = request.extensions, request.stream
    try:
        copied._content = request._content  # noqa: SLF001 - what was read already; pytest-httpx and respx look at it
    except AttributeError:  # not suppress(): this is asked for each request
        return copied
    return copied


class Own:
    """Say which header lines a request has. httpx itself first finds out how their values are encoded, for 2 µs."""

    __slots__ = ("_headers",)

    def __init__(self, headers: httpx.Headers) -> None:
        self._headers = headers

    def __contains__(self, name: object) -> bool:
        return str(name).lower().encode("ascii") in [own.lower() for own, _value in self._headers.raw]


class _Known:
    """Be how the last request went, for those to the same place. Holds a token, so nothing of it is shown."""

    __slots__ = ("credential", "host", "lines", "names", "port", "scheme", "use", "validity")

    def __init__(self, credential: Credential, url: httpx.URL, put: HeaderLines, use: Callable[[], object]) -> None:
        self.credential, self.validity, self.use = credential, credential.validity, use
        self.scheme, self.host, self.port = url.scheme, url.raw_host, url.port
        self.lines = [(name.encode(), name.lower().encode(), value.encode()) for name, value in put.items()]
        self.names = frozenset(line[1] for line in self.lines)


Loaded: TypeAlias = tuple[Credential, httpx.Request, Rewind | None]


class Loader:
    """Put the token on requests. It knows how the last one went, and does not decide anew for those to the same place.

    One of thousands is decided; for the others a few comparisons must do, because what the processor has in its caches
    by then is all of sockets. The carrier would decide the same, and is asked wherever anything differs.
    """

    __slots__ = ("_carrier", "_copied", "_direct", "_known")

    def __init__(
        self, carrier: Carrier, inner: httpx.BaseTransport | httpx.AsyncBaseTransport, *, direct: bool
    ) -> None:
        self._carrier = carrier
        self._copied = _copied_for_httpx if type(inner) in HTTPX_OWN else _copied
        self._direct = direct
        self._known: _Known | None = None

    def usual(self, request: httpx.Request) -> Loaded | None:
        """Return a copy with the header lines of the last request, and tell of it; None where it must be decided."""
        known, url = self._known, request.url
        if (
            known is None
            or time.monotonic() >= known.validity.until
            or known.host != url.raw_host
            or known.port != url.port
            or known.scheme != url.scheme
            or type(request.stream) is not httpx.ByteStream  # all else may have to be wound back for a second attempt
            or WHO.get() is not None
        ):
            return None
        carrying = self._copied(request)
        # Not by the public way, which takes as long for one line as all that is done here. And no name for the list
        # with the token in it: error reporters write down what names there are.
        for line in carrying.headers._list:  # noqa: SLF001 - see above
            if line[1] in known.names:
                return None
        known.use()
        carrying.headers._list += known.lines  # noqa: SLF001 - see above
        return known.credential, carrying, nothing_to_rewind

    def loaded(self, credential: Credential, request: httpx.Request) -> Loaded | None:
        """Return a copy with our header lines, and how to wind its body back; None for what goes as it was written."""
        target = target_of(request, direct=self._direct)
        put = self._carrier.put(credential, target, Own(request.headers))
        if put is None:
            return None
        names = {name.lower() for name in put}  # as many where the caller had none of them, and none is there twice
        use = credential.again(target.host) if len(names) == len(credential.headers) + 1 and LISTED else None
        if use is not None:
            self._known = _Known(credential, request.url, put, use)
        return credential, self.carrying(request, put), rewind_of(request.stream)

    def carrying(self, request: httpx.Request, put: HeaderLines) -> httpx.Request:
        """Return a copy of the request with our header lines; none of them is in the original."""
        carrying = self._copied(request)
        for name, value in put.items():
            carrying.headers[name] = value
        return carrying


def rewind_of(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> Rewind | None:
    """Return how to wind a body back; None for generators and whatever else can be read once."""
    if isinstance(stream, httpx.ByteStream):
        return nothing_to_rewind
    if not isinstance(stream, httpx.SyncByteStream):
        return None
    # httpx has no public word for "this body is an open file". Where these names are gone, nothing is replayed.
    fields = getattr(stream, "fields", None)
    if fields is None:
        return bookmark([getattr(stream, "_stream", None)])
    files = (getattr(field, "file", b"") for field in fields)
    return bookmark(file for file in files if not isinstance(file, str | bytes))

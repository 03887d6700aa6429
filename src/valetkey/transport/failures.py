"""What went wrong on the way, as one of our errors.

Messages name host and port and nothing else of the request. The libraries' own texts are not repeated: they hold URLs
and headers. The evidence keeps the type of what they raised, which says enough.
What may not be here: sockets, urllib3, aiohttp; ssl only when something of it was raised.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final, TypeVar

from valetkey.errors import BadAnswer, Fact, ProviderError, ProviderTimeout, ProviderUnavailable, TlsFailed
from valetkey.transport.exchange import Exchange

E = TypeVar("E", bound=BaseException)
P = TypeVar("P", bound=ProviderError)

CERTIFICATE_FAULTS: Final = {
    9: ("is not valid yet", "compare the date of this machine with the real one"),
    10: ("has expired", "the provider must renew it; compare also the date of this machine with the real one"),
    18: ("is self-signed", "for a server of your own, set SSL_CERT_FILE to a file that holds its certificate"),
    19: ("is signed by a CA this machine does not know", "behind a company proxy, set SSL_CERT_FILE to its CA"),
    20: ("is signed by a CA this machine does not know", "behind a company proxy, set SSL_CERT_FILE to its CA"),
    62: ("is for another host name", "check the host name in the URL"),
    64: ("is for another address", "use the host name that stands in the certificate"),
}
"""X509_V_ERR_* of OpenSSL that people meet."""

NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL calls an answer that is not TLS at all, in its several versions."""


def explained(error: BaseException, exchange: Exchange, *, garbled: bool = False) -> ProviderError:
    """Return the error to raise `from None`; `garbled` says that the library could not read the answer as HTTP."""
    chain = list(_chain(error))
    return (
        _by_tls(chain, exchange)
        or _by_time(chain, exchange)
        or (_garbled(chain, exchange) if garbled else None)
        or _unavailable(chain, exchange)
    )


def blocked(exchange: Exchange, cause: str, fix: str) -> ProviderError:
    """Return the refusal to connect where only public addresses may be asked."""
    message = f"{exchange.target.host} is not asked: only public addresses may be"
    target = exchange.target
    return ProviderError(
        message, code="blocked_address", cause=cause, fix=fix, host=target.host, port=target.port, sent=False
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it was made of, outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        parts = [getattr(one, name, None) for name in ("os_error", "certificate_error", "reason", "__cause__")]
        waiting += [part for part in (*parts, *one.args) if isinstance(part, BaseException)]


def _first(chain: list[BaseException], kind: type[E]) -> E | None:
    return next((one for one in chain if isinstance(one, kind)), None)


def _made(  # the parts of every error, in the order of errors.py
    kind: type[P],
    message: str,
    chain: list[BaseException],
    exchange: Exchange,
    *,
    cause: str = "",
    fix: str = "",
    **more: Fact,
) -> P:
    target = exchange.target
    facts: dict[str, Fact] = {"host": target.host, "port": target.port, "sent": exchange.sent, **more}
    if chain:
        facts["reason"] = type(chain[-1]).__name__
    if exchange.via:
        facts["proxy"] = exchange.via
    return kind(message, code="", cause=cause, fix=fix, **facts)


def _way(exchange: Exchange) -> str:
    return f" through the proxy {exchange.via}" if exchange.via else ""


def _by_tls(chain: list[BaseException], exchange: Exchange) -> ProviderError | None:
    chain = [one for one in chain if type(one).__module__ == "ssl"]  # aiohttp's own are of ssl's types and know less
    if not chain:
        return None
    import ssl  # late, and here already loaded by whoever raised it

    error = _first(chain, ssl.SSLError)
    if error is None or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None  # the peer hung up, which is no fault of its TLS
    reason, place = str(getattr(error, "reason", "") or ""), exchange.target.place
    if isinstance(error, ssl.SSLCertVerificationError):
        what, fix = CERTIFICATE_FAULTS.get(getattr(error, "verify_code", 0), ("does not hold", ""))
        message, cause = f"the certificate of {place} {what}", f"the certificate {what}"
        return _made(TlsFailed, message, chain, exchange, cause=cause, fix=fix, tls_reason=reason)
    cause = "the server does not speak TLS on this port" if reason in NOT_TLS else ""
    message = f"no TLS could be spoken with {place}{_way(exchange)}"
    return _made(TlsFailed, message, chain, exchange, cause=cause, tls_reason=reason)


def _by_time(chain: list[BaseException], exchange: Exchange) -> ProviderError | None:
    if _first(chain, TimeoutError) is None:
        return None
    what = "gave no whole answer" if exchange.sent else "could not be reached"
    message = f"{exchange.target.place} {what}{_way(exchange)} in {exchange.request.timeout:g} seconds"
    return _made(ProviderTimeout, message, chain, exchange, timeout=exchange.request.timeout)


def _garbled(chain: list[BaseException], exchange: Exchange) -> ProviderError:
    cause = "the server does not speak HTTP on this port, or its headers are too long"
    return _made(BadAnswer, f"the answer of {exchange.target.place} is not HTTP", chain, exchange, cause=cause)


def _unavailable(chain: list[BaseException], exchange: Exchange) -> ProviderError:
    place = exchange.target.place
    if exchange.sent:
        cause = "the connection broke; whether the request was carried out is not known"
        message = f"{place} hung up before the whole answer was here"
    elif _first(chain, socket.gaierror) is not None:
        cause = "the host name is misspelt, or this machine cannot look up names"
        message = f"no address was found for {exchange.via or exchange.target.host}"
    elif exchange.via:
        cause = "the proxy that HTTPS_PROXY names is not there, or says no"
        message = f"{place} could not be reached{_way(exchange)}"
    else:
        refused = _first(chain, ConnectionRefusedError) is not None
        cause = "nothing listens there, or a firewall refuses" if refused else ""
        message = f"{place} {'refused the connection' if refused else 'could not be reached'}"
    return _made(ProviderUnavailable, message, chain, exchange, cause=cause)

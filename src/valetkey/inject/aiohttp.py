"""Put a token on the requests of aiohttp: a client middleware, which sees every hop.

    aiohttp.ClientSession(middlewares=(vault.aiohttp_middleware("google/alice"),))

The header stands on aiohttp's request only while it is sent: `response.request_info`, which aiohttp puts into the repr
of its errors, does not keep it. What may not be here: the rule (rule.py) and the decisions (carrier.py).
"""

from __future__ import annotations

from contextlib import suppress

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType

from valetkey.inject import rule
from valetkey.inject.carrier import DRAINED_MOST, UNAUTHORIZED, Carrier
from valetkey.inject.quiet import OF_AIOHTTP
from valetkey.inject.rule import BY_PROXY, HeaderLines, Target
from valetkey.inject.source import AsyncSource
from valetkey.redaction import guard


def middleware(source: AsyncSource, name: str) -> ClientMiddlewareType:
    """Return a middleware that puts the connection's token on each hop that may have it.

    Requests raise aiohttp's errors, and those of `Keeper.token` where there is no token to send.
    """
    guard(OF_AIOHTTP)
    carrier = Carrier(name)

    async def carry(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        credential, target = await source.credential(name), _target(request)
        put = carrier.put(credential, target, request.headers)
        if put is None:
            return await handler(request)
        response = await _sent(request, handler, put)
        if response.status != UNAUTHORIZED:
            return response
        try:
            other = await carrier.another_async(source, credential, target)
            if other is None or not _can_be_sent_again(request):
                return response
            put = rule.missing(carrier.replaying(other, target), request.headers)
            await _discard(request, response)
        except BaseException:
            response.close()
            raise
        response = await _sent(request, handler, put)
        carrier.replayed(other, target, response.status)
        return response

    return carry


async def _sent(request: aiohttp.ClientRequest, handler: ClientHandlerType, put: HeaderLines) -> aiohttp.ClientResponse:
    """Send with our header lines, and take them off again: none of them was there before."""
    request.headers.update(put.items())
    try:
        return await handler(request)
    finally:
        for name in put:
            request.headers.pop(name, None)


def _target(request: aiohttp.ClientRequest) -> Target:
    url = request.url
    # Loopback over plain http is trusted because it stays here; by a proxy it would not.
    scheme = url.scheme + BY_PROXY if request.proxy is not None and not request.is_ssl() else url.scheme
    return Target(scheme, url.raw_host or "", url.port)


def _can_be_sent_again(request: aiohttp.ClientRequest) -> bool:
    """Say whether aiohttp can send the body a second time; it winds open files back by itself."""
    body = request.body
    return isinstance(body, bytes) or not body.consumed


async def _discard(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
    """Read what is left of a short answer, so that its connection is used again, and let go of it."""
    left = DRAINED_MOST
    with suppress(aiohttp.ClientError, OSError):
        while left > 0 and (chunk := await response.content.read(left)):
            left -= len(chunk)
    if response.content.at_eof():
        response.release()
    else:
        response.close()
    # The answer may have come while the body was still being written; two writers must not read it at once.
    await request.close()

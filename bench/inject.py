"""What a token on a request costs: each client with its injector against the same client with the header by hand.

The API is a process of its own that answers the same bytes to everything, so the client is what is measured. Bare and
injected requests take turns in small batches. The ratio is the median of those of neighbours: what disturbs one batch
disturbs the next, and the best of each need not be of the same minute.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import requests

from bench.rows import Row, best, pin
from bench.vault import connected
from valetkey.testing import Sandbox

NAME = "sb/alice"
BATCH = 10
ROUNDS = 600
AIM = "≤ 1.02"

SERVER = """
import socket, threading
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{}"
def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got = b""
    while piece := connection.recv(65536):
        got += piece
        while b"\\r\\n\\r\\n" in got:
            got = got.partition(b"\\r\\n\\r\\n")[2]
            connection.sendall(ANSWER)
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


@contextmanager
def api() -> Iterator[int]:
    """Start the API and give its port."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.kill()
        server.communicate()


def in_turn(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float, float]:
    """Return seconds per call of each, the best of batches that take turns, and how much longer the other takes."""
    times: dict[Callable[[], object], list[float]] = {one: [], other: []}
    for turn in range(ROUNDS):
        for call in (one, other) if turn % 2 else (other, one):
            start = time.perf_counter()
            for _ in range(BATCH):
                call()
            times[call].append((time.perf_counter() - start) / BATCH)
    return compared(times[one], times[other])


async def in_turn_async(one: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]]):
    """Return seconds per call of each; see `in_turn`."""
    times: dict[Callable[[], Awaitable[object]], list[float]] = {one: [], other: []}
    for turn in range(ROUNDS):
        for call in (one, other) if turn % 2 else (other, one):
            start = time.perf_counter()
            for _ in range(BATCH):
                await call()
            times[call].append((time.perf_counter() - start) / BATCH)
    return compared(times[one], times[other])


def compared(one: list[float], other: list[float]) -> tuple[float, float, float]:
    return min(one), min(other), statistics.median(b / a for a, b in zip(one, other, strict=True))


def rows(client: str, bare: float, injected: float, ratio: float) -> list[Row]:
    return [
        Row(f"{client}, header by hand", bare * 1e6, "µs"),
        Row(f"{client}, injected", injected * 1e6, "µs", ratio, "by hand", AIM if "httpx" in client else ""),
    ]


def httpx_sync(vault, url, by_hand):
    with httpx.Client(headers=by_hand) as bare, httpx.Client(transport=vault.transport(NAME)) as injected:
        return rows("httpx", *in_turn(lambda: bare.get(url), lambda: injected.get(url)))


def requests_sync(vault, url, by_hand):
    with requests.Session() as bare, vault.session(NAME) as injected:
        bare.headers.update(by_hand)
        bare.auth = injected.auth  # neither looks into ~/.netrc
        return rows("requests", *in_turn(lambda: bare.get(url), lambda: injected.get(url)))


async def httpx_async(vault, url, by_hand):
    async with (
        httpx.AsyncClient(headers=by_hand) as bare,
        httpx.AsyncClient(transport=vault.async_transport(NAME)) as injected,
    ):
        return rows("httpx async", *await in_turn_async(lambda: bare.get(url), lambda: injected.get(url)))


async def aiohttp_async(vault, url, by_hand):
    async def read(session):
        async with session.get(url) as answer:
            await answer.read()

    async with (
        aiohttp.ClientSession(headers=by_hand) as bare,
        aiohttp.ClientSession(middlewares=(vault.aiohttp_middleware(NAME),)) as injected,
    ):
        return rows("aiohttp", *await in_turn_async(lambda: read(bare), lambda: read(injected)))


def alone(vault, url) -> Row:
    """Measure what is done with a request before it is sent, with warm caches."""
    with httpx.Client(transport=vault.transport(NAME)) as client:
        vault._opened.clear()  # so that its second has just begun
        request = client.get(url).request
        taken = best(lambda: client._transport._loader.usual(request), number=2_000)
    return Row("httpx, the transport alone", taken * 1e6, "µs")


def main() -> list[Row]:
    pin()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox, api() as port:
        url = f"http://127.0.0.1:{port}/things"
        vault = connected(Path(folder), sandbox, hosts=(f"127.0.0.1:{port}",))
        by_hand = {"Authorization": f"Bearer {vault.token(NAME).reveal()}"}
        done = [
            *httpx_sync(vault, url, by_hand),
            *asyncio.run(httpx_async(vault, url, by_hand)),
            *requests_sync(vault, url, by_hand),
            *asyncio.run(aiohttp_async(vault, url, by_hand)),
            alone(vault, url),
        ]
        vault.close()
    return done


if __name__ == "__main__":
    from bench.rows import table

    print(table(main()))

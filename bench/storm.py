"""A refresh storm: thousands of connections fall due within a minute, while callers ask for their tokens.

`python -m bench storm`, or `python -m bench.storm --long` (20,000 connections), `--count N`, `--replicas N`. The
sandbox runs in a process of its own and counts. Ends with an error if a token was handed out expired, a connection was
renewed twice, or one was not renewed at all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import msgspec

import valetkey
from bench.rows import Row, table
from valetkey.providers.schema import Provider
from valetkey.testing import Sandbox
from valetkey.testing.books import Grant
from valetkey.values import Scopes, Secret
from valetkey.vault import names
from valetkey.vault.records import App, Connection, TokenSet

SHORT, LONG = 2_000, 20_000
WITHIN = 60.0  # seconds within which all fall due
AHEAD = 90.0  # seconds a token still lives when it falls due, so that only a refresher that falls behind lets it end
LIFETIME = 3600.0
SECRET = "a-client-secret-of-the-storm-0123456789"


def provide(pipe: Pipe, count: int) -> None:
    """Be the provider: mint the grants, then answer what is asked of its books."""
    with Sandbox(access_lifetime=LIFETIME, client_secrets={"sandbox-web": SECRET}) as sandbox:
        realm = sandbox._desk.realm
        minted = []
        for number in range(count):
            grant = Grant("authorization_code", "sandbox-web", f"u{number}", Scopes(["read"]), (), realm.clock())
            realm.books.add(grant)
            minted.append(realm.refreshable(grant)["refresh_token"])
        pipe.send((msgspec.msgpack.encode(sandbox.provider()), minted))
        while pipe.recv() != "end":
            pipe.send((sandbox.count("refresh_token"), sandbox.count("refresh_token", "ok")))


def filled(path: Path, told: bytes, minted: list[str], *, within: float) -> list[str]:
    """Make the vault: each connection falls due at its own moment within so many seconds from when it is filled."""
    described = msgspec.msgpack.decode(told, type=Provider)
    described = msgspec.structs.replace(described, refresh=msgspec.structs.replace(described.refresh, per_second=1e5))
    facts = {"provider": "sandbox", "client_id": "sandbox-web", "secret": Secret(SECRET), "described": described}
    made = []
    with valetkey.open(path, create=True) as vault:
        vault.add_app(App(name="sb", created_at=0.0, **facts))
        start = time.time() + len(minted) / 2_000  # filling takes its time too
        for number, text in enumerate(minted):
            expires = start + within * number / len(minted) + AHEAD
            tokens = TokenSet(
                access=Secret(f"old-{number}"), obtained_at=expires - LIFETIME, expires_at=expires, refresh=Secret(text)
            )
            connection = Connection(
                app="sb",
                label=f"u{number:05}",
                grant="authorization_code",
                created_at=start,
                tokens=tokens,
                generation=1,
                margin=AHEAD,
            )
            record = names.connection_record(connection.name)
            assert vault._world.store.swap(record, 0, vault._desk.seal_connection(connection, start))
            made.append(connection.name)
    return made


@contextmanager
def provider_of(count: int) -> Iterator[tuple[Pipe, bytes, list[str]]]:
    """Start the provider with so many grants; give the pipe to it, its description, and the refresh tokens."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=provide, args=(theirs, count))
    process.start()
    try:
        described, minted = ours.recv()
        yield ours, described, minted
        ours.send("end")
        process.join(timeout=20)
    finally:
        process.kill()


def refresh(path: Path, concurrency: int, pipe: Pipe) -> None:
    """Be one replica: keep until told to end, then say what was done and what it cost."""
    stop = threading.Event()
    threading.Thread(target=lambda: (pipe.recv(), stop.set()), daemon=True).start()
    with valetkey.open(path) as vault:
        tally = vault.keep(stop, concurrency=concurrency)
    used = resource.getrusage(resource.RUSAGE_SELF)
    pipe.send((dict(tally.counts), used.ru_utime + used.ru_stime))


def ask(path: Path, made: list[str], stop: threading.Event, seen: Counter[str]) -> None:
    """Ask for tokens of random connections all the time, and look whether any has ended."""
    pick = random.Random(1)
    with valetkey.open(path) as vault:
        while not stop.is_set():
            token = vault.token(pick.choice(made))
            ended = token.expires_at is not None and token.expires_at.timestamp() <= time.time() - 0.001
            seen["expired" if ended else "good"] += 1
            stop.wait(0.005)


def storm(count: int, replicas: int, concurrency: int) -> list[Row]:
    """Let it come, and return what it came to; ends the program if anything went wrong."""
    context = multiprocessing.get_context("spawn")
    keepers = []
    with provider_of(count) as (pipe, described, minted), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vault.db"
        made = filled(path, described, minted, within=WITHIN)
        start = time.perf_counter()
        try:
            for _ in range(replicas):
                here, there = context.Pipe()
                keepers.append((context.Process(target=refresh, args=(path, concurrency, there)), here))
                keepers[-1][0].start()
            seen, stop = Counter[str](), threading.Event()
            caller = threading.Thread(target=ask, args=(path, made, stop, seen))
            caller.start()
            asked = wait_until_done(pipe, count, start)
            took = time.perf_counter() - start
            stop.set()
            caller.join()
            results = [ended(here) for _, here in keepers]
        finally:
            for process, _ in keepers:
                process.join(timeout=20)
                process.kill()
        with valetkey.open(path) as vault:
            generations = Counter(info.refreshes for info in vault.connections())
    return judged(count, took, asked, seen=seen, generations=generations, results=results)


def ended(pipe: Pipe) -> tuple[dict[str, int], float]:
    pipe.send("end")
    return pipe.recv()


def wait_until_done(pipe: Pipe, count: int, start: float) -> tuple[int, int]:
    """Wait until the provider has renewed so many, or three times the time is over; return its counts."""
    limit = start + 3 * (WITHIN + count / 200)
    asked = (0, 0)
    while asked[1] < count and time.perf_counter() < limit:
        time.sleep(0.5)
        pipe.send("count")
        asked = pipe.recv()
    return asked


def judged(count, took, asked, *, seen, generations, results) -> list[Row]:
    spent = sum(cpu for _, cpu in results)
    shares = [done.get("renewed", 0) for done, _ in results]
    wrong = []
    if asked != (count, count):
        wrong.append(f"the provider was asked {asked[0]} times and granted {asked[1]}, of {count}")
    if generations != {1: count}:
        wrong.append(f"connections by number of renewals: {dict(generations)}")
    if seen["expired"] or not seen["good"]:
        wrong.append(f"tokens handed out: {dict(seen)}")
    if wrong:
        raise SystemExit("the storm was not weathered: " + "; ".join(wrong))
    return [
        Row("connections that fell due within a minute, each renewed once", count, "", aim="all"),
        Row(
            "tokens handed out expired, of those asked for meanwhile", seen["expired"], f"of {seen['good']:,}", aim="0"
        ),
        Row("from the first to the last", took, "s"),
        Row(f"refreshes by {len(results)} replica(s) on one SQLite file", count / took, "/s"),
        Row("refreshes per core-second of the refreshers", sum(shares) / spent, "/s"),
    ]


def burst(count: int, concurrency: int) -> Row:
    """Return how fast one replica is when all are due at once."""
    with provider_of(count) as (_pipe, described, minted), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vault.db"
        filled(path, described, minted, within=0.0)
        time.sleep(count / 2_000 + 1)  # until all are due
        with valetkey.open(path) as vault:
            start, used = time.perf_counter(), time.process_time()
            tally = vault.keep(once=True, concurrency=concurrency)
            took, used = time.perf_counter() - start, time.process_time() - used
    assert tally.counts["renewed"] == count, tally
    return Row(f"all {count:,} due at once, one replica ({count / used:,.0f} a core-second)", count / took, "/s")


def main(count: int = SHORT, replicas: int = 2, concurrency: int = 8) -> list[Row]:
    return [*storm(count, replicas, concurrency), burst(min(count, SHORT), concurrency)]


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--long", action="store_true", help=f"{LONG:,} connections instead of {SHORT:,}")
    reader.add_argument("--count", type=int, help="so many connections")
    reader.add_argument("--replicas", type=int, default=2)
    reader.add_argument("--concurrency", type=int, default=8)
    given = reader.parse_args()
    size = given.count or (LONG if given.long else SHORT)
    print(table(main(size, given.replicas, given.concurrency)))

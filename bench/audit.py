"""What the audit log costs: events noted and told, a token and a verification with and without it.

The peers are what people use instead: Python's logging to a file, with an fsync after each record for what must be
durable, and without one for what need not be.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.rows import Row, best, pin
from bench.vault import connected
from valetkey import tokens
from valetkey.audit.chain import ChainKey
from valetkey.audit.mirror import mirror_to
from valetkey.audit.recorder import Recorder
from valetkey.effects import Event
from valetkey.testing import Sandbox
from valetkey.values import Secret
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.vault.telling import Teller

NOTED = 2_000
TOLD = 20_000
THREADS = 100
RUNS = 3

EVENT = Event("token.handed_out", "google/alice@example.com", detail={"fingerprint": "0123456789ab"})
KEY = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))


class Silent:
    """Be a recorder that records nothing."""

    def note(self, _event: Event) -> None:
        pass

    def count(self, _event: Event) -> Callable[[], object]:
        return lambda: None


class Durable(logging.FileHandler):
    """Write each record to the disk before going on."""

    def flush(self) -> None:
        super().flush()
        if self.stream is not None:
            os.fsync(self.stream.fileno())


@contextmanager
def recording(folder: Path, *, mirrored: bool = False) -> Iterator[Recorder]:
    store = SqliteStore.open(folder / f"{time.monotonic_ns()}.db", create=True)
    recorder = Recorder(store.ledger, lambda: KEY, clock=lambda: datetime.now(UTC), actor="bench")
    if mirrored:
        mirror = mirror_to(folder / "audit.jsonl")
        assert mirror is not None
        recorder.mirror(mirror)
    recorder.note(EVENT)
    yield recorder
    recorder.close()
    store.close()


@contextmanager
def logging_to(folder: Path, handler: type[logging.FileHandler]) -> Iterator[Callable[[Event], None]]:
    log = logging.getLogger("bench")
    log.propagate = False
    log.setLevel(logging.INFO)
    file = handler(folder / "bench.log")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(file)
    yield lambda event: log.info("%s %s %s %s", event.kind, event.subject, event.outcome, dict(event.detail))
    log.removeHandler(file)
    file.close()


def by_threads(work: Callable[[Event], object], threads: int, events: int) -> float:
    """Return events a second."""
    each = events // threads

    def some() -> None:
        for _ in range(each):
            work(EVENT)

    workers = [threading.Thread(target=some) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return each * threads / (time.perf_counter() - start)


def fastest(work: Callable[[], float]) -> float:
    return max(work() for _ in range(RUNS))


def noted(folder: Path, threads: int, name: str) -> list[Row]:
    with recording(folder) as recorder, recording(folder, mirrored=True) as copied:
        ours = fastest(lambda: by_threads(recorder.note, threads, NOTED))
        both = fastest(lambda: by_threads(copied.note, threads, NOTED))
    with logging_to(folder, Durable) as log:
        theirs = fastest(lambda: by_threads(log, threads, NOTED))
    against = f"logging with fsync ({theirs:,.0f}/s)"
    return [
        Row(f"noted by {name}, SQLite", ours, "events/s", ours / theirs, against),
        Row(f"noted by {name}, and copied to a file", both, "events/s", both / theirs, against),
    ]


def told(folder: Path) -> list[Row]:
    with recording(folder) as recorder, logging_to(folder, logging.FileHandler) as log:

        def until_durable() -> float:
            start = time.perf_counter()
            for _ in range(TOLD):
                while len(recorder._queue) > 5_000:
                    time.sleep(0.001)
                recorder.tell(EVENT)
            recorder.flush()
            return TOLD / (time.perf_counter() - start)

        durable = fastest(until_durable)
        # A few at a time, and the commits beside: what the caller waits for.
        call = min(_told(recorder, 200) for _ in range(20))
        use = recorder.count(EVENT)
        counted = best(use, number=100_000)
        first = best(lambda: recorder.count(EVENT), number=10_000)
        theirs = best(lambda: log(EVENT), number=5_000)
    against = f"logging to a file ({theirs * 1e6:.3g} µs)"
    return [
        Row("told, until all are durable", durable, "events/s", durable * theirs, "logging to a file, not durable"),
        Row("told, what the caller waits for", call * 1e6, "µs", call / theirs, against),
        Row("counted, by what is counted", first * 1e6, "µs", first / theirs, against),
        Row("counted, by who holds the count", counted * 1e9, "ns", counted / theirs, against),
    ]


def _told(recorder: Recorder, number: int) -> float:
    recorder.flush()
    start = time.perf_counter()
    for _ in range(number):
        recorder.tell(EVENT)
    return (time.perf_counter() - start) / number


def compared(what: str, unit: float, name: str, work: Callable[[], object], silence: Callable[[], None]) -> Row:
    logged = best(work, number=2_000)
    silence()
    bare = best(work, number=2_000)
    return Row(what, logged * unit, name, logged / bare, f"the same without the log ({bare * unit:.3g} {name})")


def in_a_vault(folder: Path) -> list[Row]:
    with Sandbox() as sandbox:
        vault = connected(folder, sandbox)
        kept = vault._teller

        def quiet() -> None:
            vault._teller = Teller(Silent())
            vault._opened.clear()

        def from_store() -> None:
            vault._opened.clear()
            vault.token("sb/alice")

        rows = [compared("vault.token(), remembered", 1e6, "µs", lambda: vault.token("sb/alice"), quiet)]
        vault._teller = kept
        rows.append(compared("vault.token(), from the store", 1e6, "µs", from_store, quiet))
        key = tokens.Key.generate("ES256")
        policy = tokens.Policy(issuer="https://a.example", audience="b")
        token = tokens.sign(key, issuer="https://a.example", audience="b", subject="alice")
        verifier = vault.verifier(policy, key.public())

        def silent() -> None:
            verifier._audit = None

        rows.append(compared("verify(), a token that comes again", 1e6, "µs", lambda: verifier.verify(token), silent))
        policy = tokens.Policy(issuer="https://a.example", audience="b", cache=False)
        verifier = vault.verifier(policy, key.public())
        rows.append(compared("verify(), ES256", 1e6, "µs", lambda: verifier.verify(token), silent))
        vault.close()
    return rows


def main() -> list[Row]:
    pin()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        some = [*noted(path, 1, "1 thread"), *noted(path, THREADS, f"{THREADS} threads")]
        return [*some, *told(path), *in_a_vault(path)]

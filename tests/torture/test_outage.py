"""The short form of outages in mid-load: PostgreSQL stopped and killed, a disk that is full; the long one by `make torture`."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from killing import KILLS, Report, publish
from outage import outages

import valetkey
from valetkey.testing import Sandbox
from valetkey.vault import renew, saving
from valetkey.vault.stores import postgres

TIMES = max(1, KILLS // 10)

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(120 + 60 * TIMES)]


@pytest.fixture(autouse=True)
def _hasten(monkeypatch):
    """Shorten what callers wait for; the order between the times stays."""
    monkeypatch.setattr(renew, "LEASE_SECONDS", 9.0)
    monkeypatch.setattr(renew, "SEND_SECONDS", 5.0)
    monkeypatch.setattr(saving, "SPILL_SECONDS", 3.0)
    monkeypatch.setattr(postgres, "PATIENCE", 0.5)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "killed"])
def test_postgresql_that_goes_away_in_mid_refresh_costs_no_grant(postgres_own, home, how):
    with Sandbox(manner="rotating") as sandbox, valetkey.open(postgres_own.url) as vault:
        told = outages(vault, sandbox, TIMES, lambda: postgres_own.stop(how), postgres_own.start)
    publish(f"PostgreSQL {signal.Signals(how).name}, {TIMES} times", Report(TIMES, told))
    assert set(told) <= {"a token", "store_unavailable", "provider_unavailable"}


@contextmanager
def small_disk(folder: Path):
    """Mount a disk of 24 megabytes, and give what fills it and what makes room again; skips where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount a small disk")
    ballast = folder / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1):
                try:
                    while True:
                        file.write(os.urandom(size))
                except OSError:
                    continue

    try:
        yield fill, ballast.unlink
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_in_mid_refresh_costs_no_grant(tmp_path):
    path = tmp_path / "disk" / "vault.db"
    with small_disk(path.parent) as (fill, free), Sandbox(manner="rotating") as sandbox, valetkey.open(path) as vault:
        told = outages(vault, sandbox, TIMES, fill, free)
    publish(f"SQLite on a full disk, {TIMES} times", Report(TIMES, told))
    assert set(told) <= {"a token", "store_unavailable"}

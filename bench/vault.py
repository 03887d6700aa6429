"""What a token costs: remembered, from the store, and on the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import valetkey
from bench.rows import Row, best, pin
from valetkey.testing import Sandbox
from valetkey.values import Secret
from valetkey.vault.records import App

STARTS = 40


def started(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def connected(folder: Path, sandbox: Sandbox, hosts: tuple[str, ...] = ()) -> valetkey.Vault:
    vault = valetkey.open(folder / "vault.db", create=True)
    client = sandbox.clients["sandbox-web"]
    app = App(
        name="sb",
        provider="sandbox",
        client_id=client.id,
        created_at=0,
        secret=client.secret,
        described=sandbox.provider(),
        hosts=hosts,
    )
    vault.add_app(app)
    binding = Secret(os.urandom(16).hex())
    begun = vault.begin("sb/alice", redirect_uri="http://127.0.0.1:7777/callback", binding=binding)
    vault.finish(sandbox.login(begun.url), binding=binding)
    return vault


def main() -> list[Row]:
    pin()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        vault = connected(Path(folder), sandbox)
        remembered = best(lambda: vault.token("sb/alice"), number=50_000)

        def forgotten() -> object:
            vault._opened.clear()  # as if another process had just begun
            return vault.token("sb/alice")

        tokens = vault._opened._tokens

        def a_second_later() -> object:
            tokens["sb/alice"] = tokens["sb/alice"]._replace(until=0.0)
            return vault.token("sb/alice")

        first, from_store = best(forgotten, number=3_000), best(a_second_later, number=3_000)
        load = best(lambda: vault._world.store.load("connection/sb/alice"), number=3_000)
        renewal = best(lambda: vault.refresh("sb/alice"), number=20, repeat=5)
        vault.close()
        environment = {**os.environ, "VALETKEY_VAULT": str(Path(folder) / "vault.db")}
        python = str(Path(sys.executable))
        program = str(Path(sys.executable).with_name("valetkey"))
        bare, token, version = [], [], []
        for _ in range(STARTS):  # in turn, so that a busy moment of the machine falls on all
            bare.append(started([python, "-c", "pass"], environment))
            token.append(started([program, "token", "sb/alice"], environment))
            version.append(started([program, "--version"], environment))
    start = statistics.median(bare)
    return [
        Row("vault.token(), remembered", remembered * 1e6, "µs", aim="≤ 5 µs"),
        Row("vault.token(), from the store", from_store * 1e6, "µs", from_store / load, "a bare load", "≤ 30 µs"),
        Row(
            "vault.token(), for the first time",
            first * 1e6,
            "µs",
            first / load,
            "a bare load",
            "≤ 30 µs",
        ),
        Row("a whole refresh over loopback, two durable commits", renewal * 1e3, "ms"),
        Row("python -c pass", start * 1e3, "ms"),
        *(
            Row(name, statistics.median(runs) * 1e3, "ms", statistics.median(runs) / start, "python -c pass", aim)
            for name, runs, aim in (("valetkey token X", token, "< 4 ×"), ("valetkey --version", version, ""))
        ),
    ]

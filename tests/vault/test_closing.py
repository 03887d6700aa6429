"""A vault that was closed gives nothing any more, and what it had promised before is kept.

What may not be here: how injectors meet that (tests/inject/test_closed.py).
"""

from __future__ import annotations

import asyncio
import threading

import pytest

import valetkey
from valetkey.errors import VaultClosed
from valetkey.tokens import Key, Policy, sign
from valetkey.values import Secret, Token
from valetkey.vault.flights import Flights
from valetkey.vault.judge import Serve
from valetkey.vault.opened import Opened

pytestmark = pytest.mark.network

NAME = "sb/alice"

ASKED = {
    "a token": lambda vault: vault.token(NAME),
    "a token with scopes": lambda vault: vault.token(NAME, scopes=("read",)),
    "another token": lambda vault: vault.renewed(NAME, vault.given),
    "a refresh": lambda vault: vault.refresh(NAME),
    "a refresh without a token": lambda vault: vault.refresh_connection(NAME),
    "a credential": lambda vault: vault.credential(NAME),
    "a login": lambda vault: vault.begin(NAME, redirect_uri="http://127.0.0.1:1/cb", binding=Secret("b" * 32)),
    "the end of a login": lambda vault: vault.finish("state=x&code=y", binding=Secret("b" * 32)),
    "a machine's connection": lambda vault: vault.connect_machine("sb/ci", "client_credentials"),
    "a device's connection": lambda vault: vault.begin_device("sb/tv"),
    "an end of a connection": lambda vault: vault.disconnect(NAME),
    "a connection": lambda vault: vault.connection(NAME),
    "connections": lambda vault: list(vault.connections()),
    "states": lambda vault: vault.states(),
    "events": lambda vault: vault.events(),
    "an app": lambda vault: vault.app("sb"),
    "apps": lambda vault: list(vault.apps()),
    "the end of an app": lambda vault: vault.remove_app("sb"),
    "an app's secrets": lambda vault: vault.app_secret("sb").show(),
    "keeping": lambda vault: vault.keep(once=True),
    "forecasts": lambda vault: vault.forecasts(),
    "publishing": lambda vault: vault.publisher().publications(),
    "listeners": lambda vault: vault.listeners(),
    "a sweep": lambda vault: vault.sweep(),
    "an audit": lambda vault: vault.audit.verify(),
    "a verifier": lambda vault: vault.verifier(Policy(issuer="i", audience="a"), Key.generate("ES256")),
    "a token's line in the log": lambda vault: vault.issued(sign(Key.generate("ES256"), issuer="i", audience="a")),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_closed_vault_gives_nothing(sandbox_vault, asked):
    vault, sandbox = sandbox_vault
    vault.given = vault.token(NAME)
    vault.credential(NAME)
    vault.close()
    before = len(sandbox.log)
    with pytest.raises(VaultClosed) as caught:
        ASKED[asked](vault)
    assert (caught.value.code, caught.value.exit_code) == ("vault_closed", 7)
    assert caught.value.cause
    assert "valetkey.open()" in caught.value.fix
    assert len(sandbox.log) == before


def test_what_is_asked_after_the_end_opens_nothing_and_leaves_no_line(sandbox_vault, tmp_path):
    vault, _ = sandbox_vault
    vault.token(NAME)
    vault.close()
    threads = threading.active_count()
    for _ in range(2):
        with pytest.raises(VaultClosed):
            vault.token(NAME)
    assert threading.active_count() == threads
    with valetkey.open(tmp_path / "vault.db") as again:
        assert {line.kind for line in again.events(500)}.isdisjoint({"token.refused"})
        assert again.token(NAME).reveal()


def test_nothing_is_remembered_of_a_closed_vault(sandbox_vault):
    vault, _ = sandbox_vault
    vault.token(NAME)
    credential = vault.credential(NAME)
    vault.close()
    assert vault.remembered(NAME) is None
    assert vault.remembered_credential(NAME) is None
    assert credential.validity.until == 0.0


def test_what_is_opened_while_the_end_comes_is_not_remembered():
    opened = Opened()
    opened.end()
    opened.keep(NAME, Serve(Token(Secret("x" * 20)), 9e9), lambda: None, 60.0)
    assert opened.token(NAME) is None


def test_closing_again_does_nothing_whoever_does_it(sandbox_vault):
    vault, _ = sandbox_vault
    threads = [threading.Thread(target=vault.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    vault.close()
    with vault:
        pass
    assert repr(vault).endswith("vault.db>, closed>")
    assert vault.made.endswith("vault.db")


def test_a_coroutine_gets_nothing_from_a_closed_vault(tmp_path, sandbox_vault):
    async def ask() -> None:
        vault = valetkey.open_async(tmp_path / "vault.db")
        async with vault:
            await vault.token(NAME)
        await vault.aclose()
        for what in (vault.token(NAME), vault.token(NAME, part="x"), vault.credential(NAME), vault.connections()):
            with pytest.raises(VaultClosed):
                await what

    sandbox_vault[0].close()
    asyncio.run(ask())


def test_a_block_that_closes_the_vault_ends_its_keeping(sandbox_vault):
    vault, _ = sandbox_vault
    with vault.keeping():
        vault.close()


def test_work_that_is_under_way_may_start_what_it_needs_and_after_it_nothing_starts():
    flights, begun, go = Flights(), threading.Event(), threading.Event()

    def outer():
        begun.set()
        go.wait()
        return flights.join("inner", lambda: "done").result()

    outcome = flights.join("outer", outer)
    begun.wait()
    ending = threading.Thread(target=flights.end)
    ending.start()
    go.set()
    ending.join()
    assert outcome.result() == "done"
    with pytest.raises(VaultClosed):
        flights.join("late", lambda: "never")

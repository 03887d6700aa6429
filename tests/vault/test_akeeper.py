"""The keeper for asyncio: callers that leave, loops that end, and hundreds that ask for one refresh."""

from __future__ import annotations

import asyncio
import os
import threading
from types import SimpleNamespace

import pytest

import valetkey
from valetkey.errors import InsufficientScope, NeedsReconnect, NotFound, VaultClosed
from valetkey.values import Secret
from valetkey.vault import world
from valetkey.vault.akeeper import AsyncKeeper
from valetkey.vault.connect import Wish
from vaultkit import expire, sandbox_app

pytestmark = pytest.mark.network

NAME = "sb/alice"


@pytest.fixture
def keepers(sandbox_vault):
    """Give an async keeper over a vault, that vault, and the sandbox it is connected to."""
    vault, sandbox = sandbox_vault
    return AsyncKeeper(vault), vault, sandbox


async def until(condition):
    """Wait until something has happened; the test's own time-out ends it otherwise."""
    while not condition():  # noqa: ASYNC110  # the sandbox is another thread and sets no asyncio.Event
        await asyncio.sleep(0.002)


def renewed_once(vault, sandbox):
    """Check that there was one refresh, that its tokens are kept, and that the server has no complaint."""
    vault._flights.wait()
    assert sandbox.count("refresh_token") == 1
    info = vault.connection(NAME)
    assert (info.state, info.refreshes) == ("active", 1)
    assert sandbox.grant_alive("alice")
    expire(vault, NAME)
    vault.token(NAME)
    assert sandbox.count("refresh_token", "ok") == 2, "the rotated refresh token works"


async def test_two_hundred_coroutines_that_ask_for_an_expired_token_share_one_refresh(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    got = await asyncio.gather(*(keeper.token(NAME) for _ in range(200)))
    assert len({token.reveal() for token in got}) == 1
    renewed_once(vault, sandbox)


async def test_coroutines_and_threads_share_one_refresh(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.1)
    others = [asyncio.to_thread(vault.token, NAME) for _ in range(4)]
    got = await asyncio.gather(*(keeper.token(NAME) for _ in range(20)), *others)
    assert len({token.reveal() for token in got}) == 1
    renewed_once(vault, sandbox)


async def test_a_caller_cancelled_in_mid_refresh_leaves_and_the_rotated_token_is_kept(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.2)
    caller = asyncio.create_task(keeper.token(NAME))
    await until(lambda: sandbox.count("refresh_token"))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await keeper.token(NAME)).reveal()
    renewed_once(vault, sandbox)


async def test_one_of_many_that_is_cancelled_does_not_disturb_the_others(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.1)
    callers = [asyncio.create_task(keeper.token(NAME)) for _ in range(10)]
    await until(lambda: sandbox.count("refresh_token"))
    for caller in callers[:5]:
        caller.cancel()
    got = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one).__name__ for one in got] == ["CancelledError"] * 5 + ["Token"] * 5
    renewed_once(vault, sandbox)


async def test_a_caller_that_waits_no_longer_leaves_and_the_rotated_token_is_kept(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keeper.token(NAME), 0.05)
    renewed_once(vault, sandbox)


def test_a_loop_that_ends_in_mid_refresh_does_not_take_the_refresh_with_it(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.2)

    async def leave():
        caller = asyncio.create_task(keeper.token(NAME))
        await until(lambda: sandbox.count("refresh_token"))
        return caller

    caller = asyncio.run(leave())
    assert caller.cancelled()
    renewed_once(vault, sandbox)


def test_an_exception_that_ends_the_loop_in_mid_refresh_does_not_either(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.1)

    async def fail():
        async with asyncio.TaskGroup() as group:
            group.create_task(keeper.token(NAME))
            await until(lambda: sandbox.count("refresh_token"))
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        asyncio.run(fail())
    renewed_once(vault, sandbox)


async def test_the_loop_runs_on_while_the_server_is_slow(keepers):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.2)
    caller, turns = asyncio.create_task(keeper.token(NAME)), 0
    while not caller.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10
    assert (await caller).reveal()


async def test_closing_waits_for_what_is_under_way(keepers, tmp_path):
    keeper, vault, sandbox = keepers
    expire(vault, NAME)
    sandbox.slow_next(0.1)
    caller = asyncio.create_task(keeper.token(NAME))
    await until(lambda: sandbox.count("refresh_token"))
    await keeper.aclose()
    assert (await caller).reveal()
    with pytest.raises(VaultClosed):
        await keeper.token(NAME)
    with valetkey.open(tmp_path / "vault.db") as again:
        renewed_once(again, sandbox)


async def test_a_refusal_reaches_every_coroutine(keepers):
    keeper, vault, sandbox = keepers
    sandbox.revoke("alice")
    expire(vault, NAME)
    got = await asyncio.gather(*(keeper.token(NAME) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in got} == {NeedsReconnect}
    assert sandbox.count("refresh_token") == 1


async def test_a_remembered_token_is_given_without_a_thread(keepers):
    keeper, _, _ = keepers
    first = await keeper.token(NAME)
    before = threading.active_count()
    assert await keeper.token(NAME) is first
    assert threading.active_count() <= before


async def test_scopes_that_are_demanded_must_be_there(keepers):
    keeper, _, _ = keepers
    await keeper.token(NAME)
    assert (await keeper.token(NAME, scopes=["read"])).reveal()
    with pytest.raises(InsufficientScope):
        await keeper.token(NAME, scopes=["admin"])


async def test_the_whole_face_works_without_blocking_the_loop(tmp_path, keepers, monkeypatch):
    _, _, sandbox = keepers
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))
    async with valetkey.open_async(tmp_path / "async.db") as vault:
        vault.sync.add_app(sandbox_app(sandbox))
        vault.sync.add_app(sandbox_app(sandbox, "sandbox-machine", "ci"))
        binding = Secret(os.urandom(16).hex())
        started = await vault.begin("sb/bob", redirect_uri="http://127.0.0.1:7/callback", binding=binding)
        answer = await asyncio.to_thread(sandbox.login, started.url, "bob")
        assert (await vault.finish(answer, binding=binding)).name == "sb/bob"
        machine = await vault.connect_machine("ci/build", "client_credentials", wish=Wish(scopes=("read",)))
        assert machine.state == "active"
        device = await vault.begin_device("sb/tv")
        await asyncio.to_thread(sandbox.approve_device, device.shown.user_code)
        assert (await vault.finish_device(device)).grant == "device_code"
        first = await vault.token("sb/bob")
        second = await vault.renewed("sb/bob", first)
        third = await vault.refresh("sb/bob")
        assert len({first.reveal(), second.reveal(), third.reveal()}) == 3
        made = await vault.credential("sb/bob")
        assert made.token == third
        assert await vault.credential("sb/bob") is made
        assert [info.name for info in await vault.connections()] == ["ci/build", "sb/bob", "sb/tv"]
        assert [info.name for info in await vault.connections("ci")] == ["ci/build"]
        assert (await vault.connection("sb/bob")).refreshes == 2
        assert (await vault.app("sb")).client_id == "sandbox-web"
        assert "refresh.finished" in {line.kind for line in await vault.events()}
        assert await vault.disconnect("sb/bob") == "revoked"
        with pytest.raises(NotFound):
            await vault.token("sb/bob")
        assert "async.db" in repr(vault)
        assert third.reveal() not in repr(vault)

"""The front door: the machine's clock, random ids, and keys fetched from a server on loopback, in threads and tasks."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from valetkey import tokens
from valetkey.effects import Load
from valetkey.errors import InvalidInput, TokenRefused
from valetkey.jose.remote import COOLDOWN, TTL
from valetkey.transport import AsyncTransport, Transport

pytestmark = pytest.mark.network


class Issuer:
    """Publish keys on loopback. `hold` makes answers wait; `asked` counts."""

    def __init__(self):
        self.key = tokens.Key.generate("ES256", kid="one")
        self.entries = [self.key.to_jwk()]
        self.asked = 0
        self.arrived = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                outer.arrived.set()
                outer.hold.wait(10)
                body = json.dumps({"keys": outer.entries}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def remote(self):
        return tokens.RemoteKeys(self.url, f"{self.url}/jwks")

    def policy(self):
        return tokens.Policy(issuer=self.url, audience="a")

    def token(self, key=None):
        return tokens.sign(key or self.key, issuer=self.url, audience="a", subject="ci")

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def verifier(issuer):
    with Transport() as transport:
        yield tokens.Verifier(issuer.policy(), issuer.remote(), transport=transport)


class Clock:
    """Move this machine's clock, as tokens.py reads it."""

    def __init__(self, monkeypatch):
        import datetime as dt
        import time

        self.ahead = 0.0
        clock, real = self, time.time

        class Moved(dt.datetime):
            @classmethod
            def now(cls, tz=None):
                return dt.datetime.fromtimestamp(real() + clock.ahead, tz)

        monkeypatch.setattr(tokens.time, "time", lambda: real() + clock.ahead)
        monkeypatch.setattr(tokens, "datetime", Moved)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_sign_and_verify_by_this_machines_clock(issuer):
    first, second = issuer.token(), issuer.token()
    claims = [tokens.verify(token, issuer.key.public(), issuer.policy()) for token in (first, second)]
    assert claims[0].token_id != claims[1].token_id
    assert len(claims[0].token_id) == 22
    assert tokens.explain(first, issuer.policy(), issuer.key).ok


def test_keys_of_another_issuer_are_refused_when_the_verifier_is_made(issuer):
    other = tokens.Policy(issuer="https://other.example", audience="a")
    for keys in (issuer.remote(), tokens.KeySet([issuer.key], issuer=issuer.url)):
        for kind in (tokens.Verifier, tokens.AsyncVerifier):
            with pytest.raises(InvalidInput) as error:
                kind(other, keys)
            assert error.value.code == "config_error"
    assert tokens.Verifier(other, tokens.KeySet([issuer.key]))


def test_remote_keys_are_for_a_verifier(issuer):
    with pytest.raises(InvalidInput):
        tokens.verify(issuer.token(), issuer.remote(), issuer.policy())


def test_given_keys_are_used_as_they_are(issuer):
    verifier = tokens.Verifier(issuer.policy(), issuer.key)
    assert verifier.verify(issuer.token()).subject == "ci"
    assert verifier.explain(issuer.token()).ok
    assert issuer.asked == 0


def test_a_hundred_threads_make_one_fetch(issuer, verifier):
    issuer.hold.clear()
    with ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(verifier.verify, issuer.token()) for _ in range(100)]
        assert issuer.arrived.wait(10)
        issuer.hold.set()
        assert {claims.result().subject for claims in waiting} == {"ci"}
    assert issuer.asked == 1


def test_a_thread_with_a_known_key_does_not_wait_for_a_fetch(issuer, verifier, clock):
    verifier.verify(issuer.token())
    clock.ahead = COOLDOWN + 1
    issuer.hold.clear()
    issuer.arrived.clear()
    stranger = issuer.token(tokens.Key.generate("ES256", kid="new"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(verifier.verify, stranger)
        assert issuer.arrived.wait(10)
        assert verifier.verify(issuer.token()).subject == "ci"  # while the answer is held
        assert not waiting.done()
        issuer.hold.set()
        with pytest.raises(TokenRefused) as refusal:
            waiting.result()
    assert refusal.value.reason == "no_matching_key"


def test_keys_are_renewed_beside_the_work(issuer, verifier, clock):
    verifier.verify(issuer.token())
    clock.ahead = 0.8 * TTL
    issuer.arrived.clear()
    other = tokens.Key.generate("ES256", kid="two")
    issuer.entries = [issuer.key.to_jwk(), other.to_jwk()]
    for _ in range(20):
        assert verifier.verify(issuer.token()).subject == "ci"
    assert issuer.arrived.wait(10)
    for thread in threading.enumerate():
        if thread.name == "valetkey-jwks":
            thread.join(10)
    assert issuer.asked == 2
    assert verifier.verify(issuer.token(other)).subject == "ci"
    assert issuer.asked == 2


def test_other_refusals_ask_nobody(issuer, verifier):
    verifier.verify(issuer.token())
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(tokens.sign(issuer.key, issuer=issuer.url, audience="b"))
    assert refusal.value.reason == "aud_mismatch"
    assert verifier.explain(issuer.token()).ok
    assert issuer.asked == 1


def test_a_verifier_has_a_transport_of_its_own_if_none_is_given(issuer):
    assert tokens.Verifier(issuer.policy(), issuer.remote()).verify(issuer.token()).subject == "ci"


def test_an_issuer_that_is_down_is_a_503_and_not_a_bad_token(issuer):
    from valetkey.jose.reasons import REASONS

    issuer.close()
    with pytest.raises(TokenRefused) as refusal:
        tokens.Verifier(issuer.policy(), issuer.remote()).verify(issuer.token())
    assert REASONS[refusal.value.reason].status == 503


async def test_a_thousand_tasks_make_one_fetch_and_the_loop_goes_on(issuer):
    async with AsyncTransport() as transport:
        verifier = tokens.AsyncVerifier(issuer.policy(), issuer.remote(), transport=transport)
        issuer.hold.clear()
        waiting = [asyncio.create_task(verifier.verify(issuer.token())) for _ in range(1000)]
        assert await asyncio.to_thread(issuer.arrived.wait, 10)  # the loop is free: this comes back
        issuer.hold.set()
        assert {claims.subject for claims in await asyncio.gather(*waiting)} == {"ci"}
    assert issuer.asked == 1


async def test_a_cancelled_task_leaves_the_fetch_to_another(issuer):
    async with AsyncTransport() as transport:
        verifier = tokens.AsyncVerifier(issuer.policy(), issuer.remote(), transport=transport)
        issuer.hold.clear()
        first = asyncio.create_task(verifier.verify(issuer.token()))
        assert await asyncio.to_thread(issuer.arrived.wait, 10)
        second = asyncio.create_task(verifier.verify(issuer.token()))
        first.cancel()
        issuer.hold.set()
        assert (await second).subject == "ci"


async def test_async_keys_are_renewed_beside_the_work(issuer, clock):
    async with AsyncTransport() as transport:
        verifier = tokens.AsyncVerifier(issuer.policy(), issuer.remote(), transport=transport)
        await verifier.verify(issuer.token())
        clock.ahead = 0.8 * TTL
        for _ in range(20):
            assert (await verifier.verify(issuer.token())).subject == "ci"
        await verifier._renewing
        assert issuer.asked == 2
        assert verifier.explain(issuer.token()).ok


async def test_async_given_keys_and_own_transport(issuer):
    assert (await tokens.AsyncVerifier(issuer.policy(), issuer.key).verify(issuer.token())).subject == "ci"
    verifier = tokens.AsyncVerifier(issuer.policy(), issuer.remote())
    assert (await verifier.verify(issuer.token())).subject == "ci"
    await verifier._world._transport.aclose()


def test_a_published_private_key_is_logged_as_an_alarm(issuer, verifier, caplog, canary):
    leaked = tokens.Key.generate("ES256", kid="leaked").to_jwk(private=True)
    canary.watch("private key", leaked["d"])
    issuer.entries.append(leaked)
    with caplog.at_level(logging.CRITICAL, "valetkey.jose"):
        verifier.verify(issuer.token())
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert "private_key_published" in caplog.text
    canary.assert_absent(caplog.text)


def test_a_plan_that_asks_for_more_is_a_bug(issuer, verifier):
    with pytest.raises(TypeError, match="Load"):
        verifier._world.answer(Load("x"))


def test_a_verifier_ends_the_transport_it_made_and_no_other(issuer):
    with Transport() as given:
        with tokens.Verifier(issuer.policy(), issuer.remote(), transport=given) as first:
            assert first.verify(issuer.token())
        with tokens.Verifier(issuer.policy(), issuer.remote(), transport=given) as second:
            assert second.verify(issuer.token())
    with tokens.Verifier(issuer.policy(), issuer.remote()) as own:
        assert own.verify(issuer.token())
    assert own.verify(issuer.token())  # what it knows, it knows


async def test_an_async_verifier_ends_the_transport_it_made_and_no_other(issuer, clock):
    # An open connection would be a ResourceWarning, and so an error.
    async with tokens.AsyncVerifier(issuer.policy(), issuer.remote()) as own:
        assert await own.verify(issuer.token())
        clock.ahead = 0.8 * TTL
        assert await own.verify(issuer.token())  # begins a fetch in the background, which ends with it
    async with AsyncTransport() as given:
        for _ in range(2):
            async with tokens.AsyncVerifier(issuer.policy(), issuer.remote(), transport=given) as verifier:
                assert await verifier.verify(issuer.token())

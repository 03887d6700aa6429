"""The story of the demo: each step does something real, says what came of it, and checks it.

Tokens are shown as fingerprints only. What may not be here: printing, and packages beyond the core (an HTTP client is
used if one is installed).
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from valetkey.cli.trial import register
from valetkey.errors import NeedsReconnect
from valetkey.library import Vault
from valetkey.library import open as open_vault
from valetkey.testing.sandbox import Sandbox
from valetkey.values import Secret

LIFETIME: Final = 3.0
"""Seconds an access token lives here, so that one can be seen to expire."""

THREADS: Final = 20
LINES_SHOWN: Final = 9
CALLBACK: Final = "http://127.0.0.1/callback"
ALICE: Final = "sandbox/alice"


@dataclass(slots=True)
class Step:
    """Be one step of the story: what it is, what came of it, and which expectations failed."""

    title: str
    facts: dict[str, object] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Say whether all was as it should be."""
        return not self.wrong

    def expect(self, holds: bool, what: str) -> None:  # noqa: FBT001  # reads like an assertion, and is one
        """Note an expectation that does not hold."""
        if not holds:
            self.wrong.append(what)

    def to_dict(self) -> dict[str, object]:
        """Return the step for programs."""
        return {"title": self.title, "ok": self.holds, "facts": self.facts, "lines": self.lines, "wrong": self.wrong}


@dataclass(frozen=True)
class Stage:
    """Be what the story plays on. `ask` calls the API as a connection, through the client named `client`."""

    vault: Vault
    sandbox: Sandbox
    client: str
    ask: Callable[[str], dict[str, Any]]


def story(folder: Path) -> Iterator[Step]:
    """Tell the story, step by step; the vault is made in `folder`."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(access_lifetime=LIFETIME))
        vault = stack.enter_context(open_vault(folder / "vault.db", create=True, actor="demo"))
        register(sandbox, vault)
        client, ask = _caller(vault, f"{sandbox.url}/api/whoami")
        stage = Stage(vault, sandbox, client, ask)
        for tell in (_vault, _person, _call, _machine, _device, _expiry, _withdrawn, _again, _audit):
            yield tell(stage)


# ── the steps ─────────────────────────────────────────────────────────────────────────────────────────────────


def _vault(stage: Stage) -> Step:
    step = Step("A vault, and a provider to connect to")
    step.facts["provider"] = f"{stage.sandbox.url}, a real authorization server on this machine"
    step.facts["its manner"] = "refresh tokens rotate; using an old one again kills the whole grant"
    step.facts["apps"] = ", ".join(info.name for info in stage.vault.apps())
    return step


def _person(stage: Stage) -> Step:
    step = Step("A person connects: authorization code with PKCE")
    info = _consent(stage)
    step.facts["connection"] = f"{info.name}, {info.state}"
    step.facts["granted"] = info.granted.join()
    step.facts["access token"] = info.access_fingerprint + " (a fingerprint; tokens are never shown)"
    step.facts["refresh token"] = info.refresh_fingerprint
    step.expect(info.state == "active", "the connection is active")
    step.expect(stage.sandbox.count("authorization_code", "ok") == 1, "the code was redeemed once")
    return step


def _call(stage: Stage) -> Step:
    step = Step(f"The API is called through {stage.client}; the program holds no token")
    seen = stage.ask(ALICE)
    step.facts["the API saw"] = f"user {seen['user']}, by {seen['client']}, token {seen['token']}"
    step.expect(seen["user"] == "alice", "the API saw alice")
    mark = stage.vault.connection(ALICE).access_fingerprint
    step.expect(seen["token"] == mark, "it saw the vault's token")  # compared: fingerprints are shown
    return step


def _machine(stage: Stage) -> Step:
    step = Step("A machine connects: client credentials, nobody is asked")
    info = stage.vault.connect_machine("sandbox-machine/nightly", "client_credentials")
    seen = stage.ask(info.name)
    step.facts["connection"] = f"{info.name}, {info.state}, may {info.granted.join()}"
    step.facts["the API saw"] = f"{seen['client']}, by {seen['grant']}"
    step.expect(seen["grant"] == "client_credentials", "the API saw client credentials")
    return step


def _device(stage: Stage) -> Step:
    step = Step("A terminal without a browser connects: device code")
    started = stage.vault.begin_device("sandbox-cli/tv")
    step.facts["shown"] = f"open {started.shown.verification_uri} and type {started.shown.user_code}"
    stage.sandbox.approve_device(started.shown.user_code, user="bob")
    info = stage.vault.finish_device(started)
    step.facts["connection"] = f"{info.name}, {info.state}, may {info.granted.join()}"
    step.expect(info.state == "active", "the connection is active")
    step.expect(stage.ask(info.name)["user"] == "bob", "the API saw bob")
    return step


def _expiry(stage: Stage) -> Step:
    step = Step(f"The token expires, and {THREADS} threads want it at once")
    before, spent = stage.vault.token(ALICE), stage.sandbox.count("refresh_token")
    held = stage.vault.connection(ALICE).refresh_fingerprint
    waited = _until_expired(stage, before.expires_at)
    given = _all_at_once(stage)
    info = stage.vault.connection(ALICE)
    refreshes = stage.sandbox.count("refresh_token") - spent
    step.facts["waited"] = f"{waited:.1f} s for the token {before.fingerprint()} to expire"
    step.facts["threads got"] = f"{len(given)} tokens, {_alike(given)}"
    step.facts["refreshes"] = f"{refreshes}, as the provider counted"
    step.facts["refresh token"] = f"{held} was spent, {info.refresh_fingerprint} came; the grant lives"
    step.expect(len(given) == THREADS, "every thread got a token")
    step.expect(len(set(given)) == 1 and before.fingerprint() not in given, "all got the same new token")
    step.expect(refreshes == 1, "there was one refresh")
    step.expect(stage.sandbox.grant_alive("alice"), "the grant is alive")
    return step


def _withdrawn(stage: Stage) -> Step:
    step = Step("Alice withdraws the app at the provider")
    stage.sandbox.revoke("alice")
    try:
        stage.vault.refresh(ALICE)
    except NeedsReconnect as refusal:
        step.facts["the error says"] = f"{refusal.message} [{refusal.code}]"
        step.facts["cause"] = refusal.cause
        step.facts["fix"] = refusal.fix
    else:
        step.expect(False, "a revoked grant is noticed")
    asked = stage.sandbox.count("refresh_token")
    with suppress(NeedsReconnect):
        stage.vault.token(ALICE)
    info = stage.vault.connection(ALICE)
    step.facts["connection"] = f"{info.name}, {info.state}; kept, and the provider is not asked again"
    step.expect(info.state == "needs_reconnect", "the connection needs to be connected again")
    step.expect(stage.sandbox.count("refresh_token") == asked, "the provider is not asked again")
    return step


def _again(stage: Stage) -> Step:
    step = Step("She consents again; the name stays, so nothing that uses it changes")
    info = _consent(stage)
    seen = stage.ask(ALICE)
    step.facts["connection"] = f"{info.name}, {info.state}"
    step.facts["the API saw"] = f"user {seen['user']}, token {seen['token']}"
    step.expect(info.state == "active" and seen["user"] == "alice", "the connection works again")
    return step


def _audit(stage: Stage) -> Step:
    step = Step("Who did what, from the audit log")
    lines = stage.vault.events(200)
    for line in lines[-LINES_SHOWN:]:
        why = f" ({line.reason})" if line.reason else ""
        # What had only begun when its line was written has a line of its own for how it ended.
        outcome = "…" if line.outcome == "unknown" else line.outcome
        step.lines.append(f"{line.at:%H:%M:%S}  {line.kind:<24}{line.subject:<26}{outcome}{why}")
    if len(lines) > LINES_SHOWN:
        step.lines.insert(0, f"(the last {LINES_SHOWN} of {len(lines)} lines)")
    kinds = {line.kind for line in lines}
    step.expect({"connect.started", "connection.created", "refresh.started"} <= kinds, "the log has every event")
    return step


# ── how it is done ────────────────────────────────────────────────────────────────────────────────────────────


def _alike(given: list[str]) -> str:
    """Say how many different ones there are."""
    different = len(set(given))
    return f"all the same one: {given[0]}" if different == 1 else f"{different} of them different"


def _consent(stage: Stage) -> Any:
    """Let a person log in and allow; the binding stays with who started."""
    binding = Secret(secrets.token_urlsafe(32))
    started = stage.vault.begin(ALICE, redirect_uri=CALLBACK, binding=binding)
    return stage.vault.finish(stage.sandbox.login(started.url), binding=binding)


def _until_expired(stage: Stage, moment: datetime | None) -> float:
    """Wait until a token has expired, and until this process no longer remembers it; return the seconds."""
    began = time.monotonic()
    if moment is not None:
        time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()) + 0.05)
    while stage.vault.remembered(ALICE) is not None:
        time.sleep(0.05)
    return time.monotonic() - began


def _all_at_once(stage: Stage) -> list[str]:
    """Ask for one token from many threads; return the fingerprints they got."""
    gate, given = threading.Barrier(THREADS), list[str]()

    def ask() -> None:
        gate.wait()
        given.append(stage.vault.token(ALICE).fingerprint())

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def _caller(vault: Vault, url: str) -> tuple[str, Callable[[str], dict[str, Any]]]:
    """Return the name of an HTTP client and a way to ask the API through it, with the token put on by valetkey."""

    def by_httpx(name: str) -> dict[str, Any]:
        import httpx

        with httpx.Client(transport=vault.transport(name)) as client:
            seen: dict[str, Any] = client.get(url).raise_for_status().json()
        return seen

    def by_requests(name: str) -> dict[str, Any]:
        with vault.session(name) as session:
            answer = session.get(url, timeout=30)
            answer.raise_for_status()
            seen: dict[str, Any] = answer.json()
        return seen

    def by_urllib(name: str) -> dict[str, Any]:
        from urllib.request import ProxyHandler, Request, build_opener

        request = Request(url, headers={"Authorization": f"Bearer {vault.token(name).reveal()}"})  # noqa: S310  # the URL is the sandbox's own
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen

    if find_spec("httpx") is not None:
        return "httpx", by_httpx
    if find_spec("requests") is not None:
        return "requests", by_requests
    return "urllib (no httpx or requests here)", by_urllib

"""A real server on loopback with a sandbox behind it, and persons who come with browsers of their own.

What may not be here: expectations.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import valetkey
from valetkey.testing import Sandbox
from valetkey.testing.apps import sandbox_apps
from valetkey.values import Secret
from valetkey.web.app import create_app
from valetkey.web.door import Door
from valetkey.web.routes import Site
from valetkey.web.serving import Server, listen, server

KEY = Secret("k" * 43)
"""The operator's key of every server here."""

HIDDEN = re.compile(r'name="(\w+)" value="([^"]*)"')


@dataclass
class Running:
    url: str
    vault: valetkey.Vault
    sandbox: Sandbox
    server: Server
    thread: threading.Thread
    folder: Path
    door: Door
    key: Secret = KEY

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive(), "the server did not end"


@dataclass
class Person:
    """A browser with cookies of its own; it follows nothing by itself, and keeps every answer it got."""

    at: Running
    client: httpx.Client
    answers: list[httpx.Response] = field(default_factory=list)

    def get(self, path: str, **more) -> httpx.Response:
        return self._keep(self.client.get(path, **more))

    def post(self, path: str, **more) -> httpx.Response:
        return self._keep(self.client.post(path, **more))

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        self.answers.append(answer)
        return answer

    def form(self, path: str) -> dict[str, str]:
        """Open a page and return what its form holds."""
        page = self.get(path)
        assert page.status_code == 200, page.text
        return dict(HIDDEN.findall(page.text))

    def press(self, path: str) -> httpx.Response:
        """Open a page and press its button."""
        return self.post(path.partition("?")[0], data=self.form(path))

    def sent_back(self, path: str = "/connect/sandbox/alice", user: str = "alice", *, allow: bool = True) -> str:
        """Begin to connect and decide at the provider; return the address the browser is sent back to."""
        begun = self.press(path)
        assert begun.status_code == 303, begun.text
        return self.at.sandbox.login(begun.headers["location"], user=user, allow=allow)

    def lands(self, address: str) -> httpx.Response:
        """Open the address the provider sent the browser to, go where that leads, and return the page."""
        answer = self.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, "/done"), answer.text
        return self.get("/done")


@pytest.fixture
def serving(tmp_path) -> Iterator[Callable[..., Running]]:
    """Return a starter of servers; `public_url` is that of the site."""
    with ExitStack() as stack:

        def start(manner: str = "rotating", **site) -> Running:
            folder = tmp_path / f"vault{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            sandbox = stack.enter_context(Sandbox(manner))
            vault = stack.enter_context(valetkey.open(folder / "vault.db"))
            for app in sandbox_apps(sandbox):
                vault.add_app(app)
            listener = stack.enter_context(listen("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            door = Door(KEY)
            made = server(create_app(Site(valetkey.AsyncVault(vault), **{"public_url": url, "door": door, **site})))
            thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
            thread.start()
            running = Running(url, vault, sandbox, made, thread, folder, door)
            stack.callback(running.stop)
            return running

        yield start


@pytest.fixture
def running(serving) -> Running:
    return serving()


@pytest.fixture
def person_at() -> Iterator[Callable[..., Person]]:
    """Return a maker of persons with a browser of their own; unless `inside` is false, they came in at the door."""
    with ExitStack() as stack:

        def make(at: Running, *, inside: bool = True) -> Person:
            # It speaks plain http: without `verify`, because reading all certificates takes as long as the test.
            client = httpx.Client(base_url=at.url, trust_env=False, verify=False, timeout=30)
            made = Person(at, stack.enter_context(client))
            if inside:
                entered = made.post("/enter", data={**made.form("/enter"), "key": KEY.reveal()})
                assert (entered.status_code, entered.headers["location"]) == (303, "/")
            return made

        yield make


@pytest.fixture
def person(running, person_at) -> Person:
    return person_at(running)


@pytest.fixture
def everything_logged(caplog) -> Callable[[], str]:
    """Return a reader of what the server's side logged at any level; the persons' own clients log what they ask."""
    caplog.set_level(logging.DEBUG)
    for name in (
        "valetkey",
        "valetkey.access",
        "valetkey.web",
        "uvicorn",
        "uvicorn.access",
        "uvicorn.error",
        "litestar",
    ):
        caplog.set_level(logging.DEBUG, logger=name)
    formatter = logging.Formatter("%(name)s %(message)s")

    def read() -> str:
        others = ("httpx", "httpcore", "urllib3")
        return "\n".join(formatter.format(record) for record in caplog.records if not record.name.startswith(others))

    return read

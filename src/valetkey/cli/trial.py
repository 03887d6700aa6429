"""A sandbox beside a vault, for `serve --sandbox`, `serve --try` and `demo`; and what to type after `--try`.

What may not be here: the server's packages; the demo works without them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from valetkey._version import __version__
from valetkey.errors import AlreadyExists, InvalidInput, NotFound

if TYPE_CHECKING:
    from valetkey.library import Vault
    from valetkey.testing.sandbox import Sandbox

FOLDER: Final = ".valetkey"
SANDBOX_PORT: Final = 8401


def trial_vault() -> Path:
    """Return the vault of a try: under the current folder, in a folder of its own that only its owner can read."""
    folder = Path.cwd() / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "vault.db"


def start_sandbox(port: int | None, public_url: str, *, usual: bool) -> Sandbox:
    """Start a sandbox that sends people back to `public_url`; raises InvalidInput if the port is taken.

    `usual` takes the usual port if it is free and none is asked for, so that addresses stay the same between tries.
    """
    from valetkey.testing.sandbox import Sandbox

    wanted = [port] if port is not None else [SANDBOX_PORT, 0] if usual else [0]
    for number in wanted:
        try:
            return Sandbox(port=number, redirect_uris=(f"{public_url}/callback",)).start()
        except OSError:
            continue
    raise InvalidInput(f"port {port} is taken, so the sandbox cannot start", fix="choose another with --sandbox-port")


def register(sandbox: Sandbox, vault: Vault) -> int:
    """Keep the sandbox's apps, in place of the last sandbox's; return how many connections to that one were forgotten.

    Raises AlreadyExists if one of the names is an app of yours.
    """
    from valetkey.testing.apps import sandbox_apps

    apps = sandbox_apps(sandbox)
    for app in apps:
        try:
            known = vault.app(app.name)
        except NotFound:
            continue
        running = known.description.endpoints.issuer
        if known.provider == app.provider and running != sandbox.issuer and _answers(running):
            raise AlreadyExists(
                f"the sandbox of this vault is running already, at {running}",
                cause="another `make run` or `valetkey serve --sandbox` uses this vault",
                fix="use that one, or stop it first; or give this one a vault of its own with --vault",
            )
        if known.provider != app.provider:
            raise AlreadyExists(
                f"this vault has an app called {app.name} that is not the sandbox's",
                fix="give the sandbox a vault of its own: `valetkey serve --sandbox --vault sandbox.db`",
            )
    for app in apps:
        vault.add_app(app, replace=True)
    stale = [info.name for app in apps for info in vault.connections(app.name)]
    for name in stale:
        vault.disconnect(name, force=True)
    return len(stale)


def _answers(issuer: str) -> bool:
    """Say whether a sandbox is still there."""
    from valetkey.errors import ValetkeyError
    from valetkey.transport.sync import Transport
    from valetkey.values import Request

    with Transport() as transport:
        try:
            return issuer.encode() in transport.send(Request("GET", f"{issuer}/health", timeout=2.0)).body
        except ValetkeyError:
            return False


def what_to_type(sandbox_url: str, vault: str, way_in: str, operator_key_file: str) -> str:
    """Return the few lines that somebody reads who has just typed `make run`."""
    command = program()
    assign = "set" if os.name == "nt" else "export"
    steps = [
        f"{assign} VALETKEY_VAULT={shlex.quote(vault)}",
        f"{command} connect sandbox/alice",
        f"{command} token sandbox/alice",
        f"{command} curl sandbox/alice -- {sandbox_url}/api/whoami",
    ]
    way = way_in, operator_key_file
    return "\n".join(_lines(way, sandbox_url, vault, steps))


def _lines(way: tuple[str, str], sandbox_url: str, vault: str, steps: Iterable[str]) -> Iterable[str]:
    way_in, operator_key_file = way
    yield f"valetkey {__version__} runs, with a provider to try it on. Ctrl-C ends both."
    yield ""
    yield f"  in a browser           {way_in}"
    lead = "This link is good once; later the page" if "#" in way_in else "The page"
    yield f"  {lead} asks for the operator's key, which is in {operator_key_file}"
    yield ""
    yield "  in another terminal"
    yield ""
    for step in steps:
        yield f"      {step}"
    yield ""
    yield "  Any name and password will do at the sandbox. No browser here? Say this instead of the second line:"
    yield ""
    yield f"      {program()} connect sandbox-machine/nightly"
    yield ""
    yield f"  The sandbox is {sandbox_url}/ and the vault {vault}"


def program() -> str:
    """Return how to call this valetkey from here: relative where it is below this folder, else by its full path."""
    found = Path(sys.argv[0]).resolve()
    if found.stem not in {"valetkey", "vk"}:
        return f"{shlex.quote(sys.executable)} -m valetkey"
    if shutil.which(found.stem) == str(found):
        return found.stem
    here = Path.cwd().resolve()
    return shlex.quote(str(found.relative_to(here) if found.is_relative_to(here) else found))

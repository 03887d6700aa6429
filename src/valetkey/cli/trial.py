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
from urllib.parse import urlsplit

from valetkey._version import __version__
from valetkey.errors import AlreadyExists, InvalidInput, NotFound
from valetkey.values import is_loopback

if TYPE_CHECKING:
    from valetkey.library import Vault
    from valetkey.providers.schema import Provider
    from valetkey.testing.sandbox import Sandbox

FOLDER: Final = ".valetkey"
SANDBOX_PORT: Final = 8401
USUAL_SANDBOX: Final = f"http://127.0.0.1:{SANDBOX_PORT}"

_REGISTERED: Final = (
    "Its clients are registered already: sandbox-web (with a secret), sandbox-cli (public) and sandbox-machine (with a "
    "secret, for client_credentials). Redirect URIs on 127.0.0.1 are theirs with any port, with the path /callback."
)
_OWN: Final = (
    f"An app of your own: `valetkey app add mine --issuer {USUAL_SANDBOX} --client-id sandbox-cli --public`, then "
    "`valetkey connect mine/alice`."
)
_SECRETS: Final = (
    "The secrets are made anew at each start and open nothing else. They are printed nowhere: they lie beside the "
    "vault, in sandbox-web.secret and sandbox-machine.secret, for `--secret-ref file:/…/sandbox-web.secret`."
)
_RUNS: Final = (
    "It is in no catalogue: it runs as long as `valetkey serve --try` (`make run`) or `serve --sandbox`, at this "
    "address if the port is free, else where that says."
)
SANDBOX_NOTES: Final = (_RUNS, _REGISTERED, _OWN, _SECRETS)
"""What `valetkey provider show sandbox` says beside the facts."""


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


def usual_sandbox() -> Provider:
    """Describe the sandbox of `serve --try`, with what somebody needs who wants an app of his own there."""
    import msgspec

    from valetkey.testing.description import describe
    from valetkey.testing.manner import manner_of

    found = describe(USUAL_SANDBOX, manner_of("rotating"))
    return msgspec.structs.replace(found, notes=[*found.notes, *SANDBOX_NOTES])


def keep_secrets(sandbox: Sandbox, folder: Path) -> list[Path]:
    """Write the secrets of the sandbox's clients to files that only their owner can read; raises InvalidInput.

    They are made anew at each start and open nothing but this sandbox; still they are printed nowhere.
    """
    from valetkey.vault.private import private_folder, write_anew

    written = []
    for client in sandbox.clients.values():
        if client.secret is None:
            continue
        path = folder.absolute() / f"{client.id}.secret"
        try:
            private_folder(folder)
            write_anew(path, f"{client.secret.reveal()}\n")
        except OSError as refusal:
            raise InvalidInput(f"{path} cannot be written: {refusal.strerror}", fix="check the folder") from None
        written.append(path)
    return written


def register(sandbox: Sandbox, vault: Vault, *, where: str = "") -> int:
    """Keep the sandbox's apps, in place of the last sandbox's; return how many connections to that one were forgotten.

    `where` is the vault's place, for what is to be typed. Raises AlreadyExists if one of the names is an app of yours.
    """
    from valetkey.testing.apps import sandbox_apps

    apps = sandbox_apps(sandbox)
    for app in apps:
        try:
            known = vault.app(app.name)
        except NotFound:
            continue
        running = known.description.endpoints.issuer
        # As `app add --issuer` keeps it: a client of a sandbox, described by itself.
        by_issuer = known.provider == "discovered" and known.client_id == app.client_id and _is_local(running)
        ours = known.provider == app.provider or by_issuer
        if ours and running != sandbox.issuer and _answers(running):
            raise AlreadyExists(
                f"the sandbox of this vault is running already, at {running}",
                cause="another `make run` or `valetkey serve --sandbox` uses this vault",
                fix="use that one, or stop it first; or give this one a vault of its own with --vault",
            )
        if not ours:
            raise _not_ours(app.name, known.provider, where)
    for app in apps:
        vault.add_app(app, replace=True)
    stale = [info.name for app in apps for info in vault.connections(app.name)]
    for name in stale:
        vault.disconnect(name, force=True)
    return len(stale)


def _not_ours(name: str, provider: str, where: str) -> AlreadyExists:
    there = f" --vault {shlex.quote(where)}" if where else ""
    return AlreadyExists(
        f"this vault has an app called {name} that is not the sandbox's",
        cause=f"it is one of provider {provider}, and the sandbox would take its name",
        fix=f"if it is not needed, `valetkey app rm {name}{there}`, and start again; or give the sandbox a vault of "
        "its own: `valetkey serve --sandbox --vault sandbox.db` (in the place of `make run`, too)",
    )


def _is_local(issuer: str) -> bool:
    return is_loopback(urlsplit(issuer).hostname or "")


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


def what_to_type(sandbox_url: str, vault: str, way: tuple[str, str], secrets: str) -> str:
    """Return the few lines that somebody reads who has just typed `make run`.

    `way` is the link that leads in and the operator's key file; `secrets` is where the sandbox's are.
    """
    command = program()
    assign = "set" if os.name == "nt" else "export"
    steps = [
        f"{assign} VALETKEY_VAULT={shlex.quote(vault)}",
        f"{command} connect sandbox/alice",
        f"{command} token sandbox/alice",
        f"{command} curl sandbox/alice -- {sandbox_url}/api/whoami",
    ]
    secret = shlex.quote(f"file:{Path(secrets, 'sandbox-web.secret')}")
    own = f"{command} app add mine --issuer {sandbox_url} --client-id sandbox-web --secret-ref {secret}"
    return "\n".join(_lines(way, sandbox_url, vault, [*steps, own]))


def _lines(way: tuple[str, str], sandbox_url: str, vault: str, typed: Iterable[str]) -> Iterable[str]:
    way_in, operator_key_file = way
    *steps, own = typed
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
    yield f"  An app of your own there, beside those kept already (`{program()} provider show sandbox` says more):"
    yield ""
    yield f"      {own}"
    yield ""
    yield f"  The sandbox is {sandbox_url} and the vault {vault}"


def typed_here(text: str) -> str:
    """Return a text with the commands in it as they are typed here, where `valetkey` is perhaps not on the PATH."""
    return text.replace("`valetkey ", f"`{program()} ")


def program() -> str:
    """Return how to call this valetkey from here: relative where it is below this folder, else by its full path."""
    found = Path(sys.argv[0]).resolve()
    if found.stem not in {"valetkey", "vk"}:
        return f"{shlex.quote(sys.executable)} -m valetkey"
    if shutil.which(found.stem) == str(found):
        return found.stem
    here = Path.cwd().resolve()
    return shlex.quote(str(found.relative_to(here) if found.is_relative_to(here) else found))

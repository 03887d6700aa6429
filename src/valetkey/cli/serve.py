"""`valetkey serve`: the server on one vault, with a sandbox beside it where that is wanted.

What may not be here: routes (web/), and imports of the server's packages at start-up: they are an extra.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from valetkey.cli.base import FormCommand, Session
from valetkey.cli.dumps import forbid_core_dumps
from valetkey.cli.logs import log_to_stderr
from valetkey.cli.show import clean, facts, out, out_json, say
from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.installing import to_add
from valetkey.values import is_loopback, secure_url

if TYPE_CHECKING:
    import socket

    from valetkey.library import Vault
    from valetkey.testing.sandbox import Sandbox
    from valetkey.vault.places import Place
    from valetkey.web.door import Door
    from valetkey.web.serving import Tls

PORT: Final = 8400
SERVER_PACKAGES: Final = frozenset({"jinja2", "litestar", "markupsafe", "uvicorn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Be what `valetkey serve` was asked for."""

    host: str
    port: int | None
    public_url: str
    sandbox: bool
    sandbox_port: int | None
    try_: bool
    tls_cert: Path | None
    tls_key: Path | None
    behind_tls_proxy: bool
    operator_key_file: Path | None
    access_log: bool | None
    keep: bool


@click.command(cls=FormCommand, form=Asked)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), help=f"The port; 0 takes a free one [default: {PORT}].")
@click.option("--public-url", default="", metavar="URL", help="How browsers reach it [default: the address itself].")
@click.option("--sandbox", is_flag=True, help="Start a provider to try things on beside it, on loopback.")
@click.option("--sandbox-port", type=click.IntRange(0, 65_535), help="The sandbox's port [default: a free one].")
@click.option("--try", "try_", is_flag=True, help="Sandbox, a vault in ./.valetkey, and what to type next.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="The certificate chain, in PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key, in PEM.")
@click.option("--behind-tls-proxy", is_flag=True, help="A proxy that speaks TLS stands in front.")
@click.option(
    "--operator-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="VALETKEY_OPERATOR_KEY_FILE",
    help="The operator's key, made if it is not there [default: beside the vault].",
)
@click.option("--access-log/--no-access-log", default=None, help="One line per request, without its query.")
@click.option(
    "--keep/--no-keep",
    default=True,
    show_default=True,
    help="Keep connections fresh beside serving, as `valetkey keep` does.",
)
def serve(session: Session, asked: Asked) -> None:
    """Run the server: pages to connect by, the callback, health. Ctrl-C ends it.

    It listens on loopback. Another --host needs TLS, its own or that of a proxy in front, and --public-url.

    The pages are for who holds the operator's key, which lies in a file that only you can read: on loopback too, for
    every user of the machine can knock there. On a terminal a link is shown that opens them once, without typing.
    """
    _check(asked)
    forbid_core_dumps()
    try:
        from valetkey.web import app, door, routes, serving  # late: an extra, and three tenths of a second
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in SERVER_PACKAGES:
            raise
        raise InvalidInput(f"the server needs {missing.name}, which is not installed", fix=to_add("server")) from None
    from valetkey.library import AsyncVault
    from valetkey.vault.places import Place

    with ExitStack() as stack:
        given = _given(session, asked)
        place = Place.of(given)
        listener = stack.enter_context(_listener(asked))
        public_url = _public_url(asked, listener)
        vault = stack.enter_context(_vault(session, given))
        folder = _folder(place)
        sandbox = _sandbox(asked, vault, public_url, place, stack)
        key_file = _operator_key_file(asked, place)
        entry = door.Door(door.operator_key(key_file))
        site = routes.Site(AsyncVault(vault), public_url, entry, sandbox.url if sandbox else "")
        server = serving.server(app.create_app(site), tls=_tls(asked))
        _log(asked)
        with server.capture_signals():  # whoever reads that it serves may stop it in the same moment
            secrets = str(folder.absolute()) if sandbox else ""
            told = Told(public_url, place.shown, site.sandbox_url, str(key_file), secrets)
            _announce(session, told, trial=asked.try_, link=_link(entry, public_url))
            stack.enter_context(vault.keeping() if asked.keep else nullcontext())
            server.run(sockets=[listener])
    if not session.json:
        say("stopped")


# ── what may be asked for ─────────────────────────────────────────────────────────────────────────────────────


def _check(asked: Asked) -> None:
    """Refuse what would send tokens or keys in the clear; raises InvalidInput, InsecureUrl."""
    if (asked.tls_cert is None) != (asked.tls_key is None):
        raise InvalidInput("--tls-cert and --tls-key go together", fix="give both, or neither")
    if not is_loopback(asked.host):
        if asked.tls_cert is None and not asked.behind_tls_proxy:
            raise InsecureUrl(
                f"on {asked.host} others could read what goes over plain http",
                fix="give --tls-cert and --tls-key, or --behind-tls-proxy if a proxy in front speaks TLS",
            )
        if not asked.public_url:
            raise InvalidInput(
                f"with --host {asked.host} the address browsers use must be known", fix="--public-url https://…"
            )
    if asked.public_url:
        parts = urlsplit(secure_url(asked.public_url, "public URL"))
        if parts.path not in {"", "/"} or parts.query:
            raise InvalidInput("the public URL has a path", fix="give the origin only: https://auth.example.com")


def _tls(asked: Asked) -> Tls | None:
    from valetkey.web.serving import Tls

    return Tls(asked.tls_cert, asked.tls_key) if asked.tls_cert and asked.tls_key else None


def _listener(asked: Asked) -> socket.socket:
    from valetkey.web.serving import listen

    if asked.port is not None or not asked.try_:
        return listen(asked.host, PORT if asked.port is None else asked.port)
    try:
        return listen(asked.host, PORT)
    except InvalidInput:
        say(f"port {PORT} is taken, so this takes another one")
        return listen(asked.host, 0)


def _public_url(asked: Asked, listener: socket.socket) -> str:
    if asked.public_url:
        return asked.public_url.rstrip("/")
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    return f"{'https' if asked.tls_cert else 'http'}://{host}:{listener.getsockname()[1]}"


# ── what it runs on ───────────────────────────────────────────────────────────────────────────────────────────


def _given(session: Session, asked: Asked) -> str | Path | None:
    """Return the vault that was named: for a try the one of this folder, unless the command line names another."""
    from valetkey.cli.trial import trial_vault

    return trial_vault() if asked.try_ and not _named_here() else session.vault


def _named_here() -> bool:
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.get_parameter_source("vault") is click.core.ParameterSource.COMMANDLINE:
            return True
        context = context.parent
    return False


def _vault(session: Session, given: str | Path | None) -> Vault:
    return session.open(create=True, serves=True, given=given, actor="server")


def _sandbox(asked: Asked, vault: Vault, public_url: str, place: Place, stack: ExitStack) -> Sandbox | None:
    if not asked.sandbox and not asked.try_:
        return None
    from valetkey.cli.trial import keep_secrets, register, start_sandbox

    sandbox = start_sandbox(asked.sandbox_port, public_url, usual=asked.try_)
    stack.callback(sandbox.stop)
    forgotten = register(sandbox, vault, where=place.shown)
    for file in keep_secrets(sandbox, _folder(place)):
        stack.callback(file.unlink, missing_ok=True)
    if forgotten:
        say(f"forgot {forgotten} connections to the last sandbox, which is gone")
    return sandbox


def _operator_key_file(asked: Asked, place: Place) -> Path:
    """Return where the operator's key is: as told, beside a vault that is a file, else in the user's data folder."""
    from valetkey.vault.private import expanded

    if asked.operator_key_file is not None:
        return expanded(asked.operator_key_file)
    if place.path is not None:
        return place.path.with_suffix(".operator")
    return _folder(place) / "server.operator"


def _folder(place: Place) -> Path:
    """Return the folder of a vault that is a file, else the user's data folder."""
    if place.path is not None:
        return place.path.parent
    from valetkey.vault.private import private_folder
    from valetkey.vault.quick import data_folder

    usual = Path(data_folder(), "valetkey")
    private_folder(usual)
    return usual


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────


def _log(asked: Asked) -> None:
    shown = not asked.try_ if asked.access_log is None else asked.access_log
    log_to_stderr()
    logging.getLogger("valetkey.access").setLevel(logging.INFO if shown else logging.WARNING)


@dataclass(frozen=True, slots=True)
class Told:
    """Be what is said of a server that runs; an empty text means: has none."""

    url: str
    vault: str
    sandbox: str
    operator_key_file: str
    sandbox_secrets: str


def _link(entry: Door, public_url: str) -> str:
    """Return a link that opens the pages once, for a terminal; what else may read our output may be kept as a log."""
    return f"{public_url}/enter#{entry.link().reveal()}" if sys.stdout.isatty() else ""


def _aside(session: Session) -> AbstractContextManager[object]:
    """Lead our own words to standard error where standard output is for the audit log."""
    return redirect_stdout(sys.stderr) if session.audit_copy(serves=True) == "-" else nullcontext()


def _announce(session: Session, told: Told, *, trial: bool, link: str) -> None:
    with _aside(session):
        _say_what_runs(session, told, trial=trial, link=link)


def _say_what_runs(session: Session, told: Told, *, trial: bool, link: str) -> None:
    if session.json:
        more = {"redirect_uri": f"{told.url}/callback", "health": f"{told.url}/health"}
        out_json({**asdict(told), **more})
    elif trial:
        from valetkey.cli.trial import what_to_type

        way = link or f"{told.url}/", told.operator_key_file
        out(what_to_type(told.sandbox, told.vault, way, told.sandbox_secrets))
    else:
        out(f"valetkey serves {clean(told.vault)} at {told.url}/")
        facts(
            {
                "  redirect URI for your apps": f"{told.url}/callback",
                "  health": f"{told.url}/health",
                "  sandbox": told.sandbox,
                "  secrets of its clients": told.sandbox_secrets and f"{told.sandbox_secrets}{os.sep}sandbox-*.secret",
                "  your way in, once": link,
                "  operator's key": told.operator_key_file,
            }
        )

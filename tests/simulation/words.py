"""How a step is told: one line, with tokens under their own names (RT3.g2: third refresh token of grant 2)."""

from __future__ import annotations

from typing import Any

import msgspec

from simulation.scenario import Spell
from valetkey.effects import Load, Luck, Note, Now, Resolve, Send, Sleep, Spill, Spilled, Swap
from valetkey.errors import NeedsReconnect, ValetkeyError
from valetkey.values import Entry, Request, Response
from valetkey.vault.desk import Desk
from valetkey.vault.judge import Serve
from valetkey.vault.names import CONNECTIONS
from valetkey.vault.records import Connection


def words(question: object, answer: object = None, desk: Desk | None = None) -> str:  # noqa: C901, PLR0911, PLR0912  # a line for each question
    """Return a question, and its answer if there is one, as one line."""
    match question:
        case Load(name):
            return f"load {_short(name)} → {_entry(name, answer, desk)}"
        case Swap(name, seen, entry):
            done = {True: "done", False: "no: it has moved on"}.get(answer, "?")
            return f"swap {_short(name)} at v{seen} for {_entry(name, entry, desk, saved=True)}: {done}"
        case Spill(name, entry):
            return f"spill {_short(name)}: {_entry(name, entry, desk, saved=True)}"
        case Sleep(seconds):
            return f"slept {seconds:.2f} s"
        case Note(event):
            return f"log {event.kind} {event.outcome} {event.reason}".rstrip()
        case Send(request):
            return f"send {words(request)}"
        case Now():
            return f"now → {answer:%d %H:%M:%S.%f}" if answer is not None else "now"
        case Luck(size):
            return f"luck {size}"
        case Resolve(reference, want):
            return f"resolve {reference} ({want})"
        case Spilled(name):
            return f"look for what was spilled of {_short(name)} → {_entry(name, answer, desk, saved=True)}"
        case Request():
            return _request(question)
        case Response():
            return _response(question)
        case _:
            return f"waits for {getattr(question, 'kind', question)}"


def spell(told: Spell) -> str:
    """Return a lasting fault as words."""
    where = "everywhere" if told.replica < 0 else f"r{told.replica}"
    if told.kind == "clock":
        return f"of {where} by {told.amount:+.1f} s"
    if told.kind in {"person", "provider_down", "client_refused"}:
        where = told.place
    return f"at {where} for {told.seconds:.1f} s"


def outcome(value: object, refusal: ValetkeyError | None) -> str:
    """Return how a plan ended."""
    if isinstance(refusal, NeedsReconnect):
        return f"NeedsReconnect, {refusal.reason}"
    if refusal is not None:
        return f"{type(refusal).__name__}, {refusal.code}"
    if isinstance(value, Serve):
        return f"gives {value.token.reveal()}"
    if isinstance(value, Connection):
        return _connection(value)
    return str(value)[:60]


def _short(name: str) -> str:
    room, _, rest = name.partition("/")
    return f"{room}/{rest[:6]}…" if room == "pending" else name


def _entry(name: str, entry: Any, desk: Desk | None, *, saved: bool = False) -> str:
    if entry is None:
        return "nothing"
    if not isinstance(entry, Entry) or desk is None or not name.startswith(CONNECTIONS):
        return "it"
    shown = _connection(desk.connection(name.removeprefix(CONNECTIONS), entry))
    return shown if saved else f"v{entry.version} {shown}"


def _connection(connection: Connection) -> str:
    tokens = connection.tokens
    parts = []
    if tokens is not None:
        parts = [tokens.access.reveal(), tokens.refresh.reveal() if tokens.refresh else "no refresh token"]
    if connection.lease is not None:
        parts.append(f"lease {connection.lease.owner[:4]}")
    if connection.intent is not None:
        parts.append(f"intent {connection.intent.attempt[:4]} {connection.intent.fate}")
    if connection.trouble is not None:
        parts.append(f"{connection.trouble.sort} trouble {connection.trouble.reason or connection.trouble.code}")
    if connection.revoked_at:
        parts.append("revoked")
    return "{" + ", ".join(parts) + "}"


def _request(request: Request) -> str:
    pairs = dict(pair.partition("=")[::2] for pair in request.body.decode().split("&"))
    what = pairs.get("refresh_token") or pairs.get("code") or pairs.get("token") or pairs.get("device_code")
    return f"{request.url.rsplit('/', 1)[-1]}({what or pairs.get('grant_type', '')})"


def _response(response: Response) -> str:
    try:
        members = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return f"HTTP {response.status}{' HTML' if response.body else ''}"
    names = [str(members[name]) for name in ("error", "access_token", "refresh_token") if name in members]
    return f"HTTP {response.status} {', '.join(names)}"

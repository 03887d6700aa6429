"""What every command has: the options that say which vault and how to answer, and the session they fill.

The options stand on every command and every group, so they may be given before the noun or after the verb; the one
furthest to the right counts. What may not be here: commands, and imports that cost (the vault is opened late).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from valetkey.library import Vault
    from valetkey.values import Secret


SHARED: Final = ("vault", "key_file", "passphrase_fd", "audit_log", "json")
"""The names of the options that every command has."""


@dataclass
class Session:
    """Be one call of the command line: which vault, which key, and whether a program is asking."""

    vault: str | None = None
    key_file: str | None = None
    passphrase_fd: int | None = None
    audit_log: str | None = None
    json: bool = False

    def open(
        self, *, create: bool = False, serves: bool = False, given: str | Path | None = None, actor: str = "cli"
    ) -> Vault:
        """Open the vault; raises the VaultErrors, InvalidInput. It is made only where `create` says so, and that told.

        `serves`: standard output is for what happens, and not for a result. `given` is another vault than that named.
        """
        from valetkey.cli.logs import mask_last_resort
        from valetkey.cli.show import clean, say
        from valetkey.library import open as open_vault

        mask_last_resort()
        vault = open_vault(
            given or self.vault,
            key_file=self.key_file,
            key=self.passphrase,
            create=create,
            actor=actor,
            audit_log=self.audit_copy(serves=serves),
        )
        if vault.made:
            say(f"made a new vault at {clean(vault.made)}")
        return vault

    def open_or_make(self, check: Callable[[], object]) -> Vault:
        """Open the vault, or make it once `check` has found nothing wrong: no vault is left behind by a mistake."""
        from valetkey.errors import VaultMissing, VaultUnreadable

        try:
            return self.open()
        except (VaultMissing, VaultUnreadable):  # an empty file: another process may be making the vault
            check()
        return self.open(create=True)

    @contextmanager
    def open_if_named(self) -> Iterator[Vault | None]:
        """Open the vault that --vault or VALETKEY_VAULT names, for its audit log; None where neither does.

        Raises the VaultErrors: a vault that is named is to be there.
        """
        if self.vault is None and not os.environ.get("VALETKEY_VAULT"):
            yield None
            return
        with self.open() as vault:
            yield vault

    def audit_copy(self, *, serves: bool = False) -> str | None:
        """Return where the audit log is copied to; raises InvalidInput where that would spoil a result."""
        from valetkey.audit.mirror import mirror_to

        where = self.audit_log or os.environ.get("VALETKEY_AUDIT_LOG") or None
        if where == "-" and not serves:
            raise InvalidInput(
                "standard output is for the result of this command, not for the audit log",
                fix="name a file: --audit-log FILE; only `valetkey serve` and `valetkey keep` take -",
            )
        mirror_to(where)  # refused before anything is done
        return where

    def passphrase(self) -> Secret:
        """Return the passphrase of the vault: from a descriptor, a credential, or a person; raises KeyMissing."""
        from valetkey.cli.ask import secret_prompt
        from valetkey.vault.keks import passphrase

        if self.passphrase_fd is not None:
            return passphrase.from_descriptor(self.passphrase_fd)
        told = passphrase.found()
        if told is not None:
            return told
        how = "--passphrase-fd N, VALETKEY_PASSPHRASE_FD, or a systemd credential named valetkey-passphrase"
        return secret_prompt("passphrase of the vault", instead=how, exact=True)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    session = context.find_root().obj
    if value == "" and parameter.name in {"vault", "key_file"}:
        raise InvalidInput(
            f"{parameter.opts[0]} names nothing",
            cause="a variable of the shell that is not set stands empty",
            fix="name a place, or leave the option out",
        )
    if value and parameter.name == "vault" and "://" in value:
        from valetkey.vault.places import spoken

        value = spoken(value)
    said = value not in (None, "") and value is not False  # not by truth: file descriptor 0 is a value
    if said and isinstance(session, Session) and parameter.name is not None:
        setattr(session, parameter.name, value)


def _shared() -> list[click.Parameter]:
    # The variables are read where the vault is opened, so that what is typed before the noun goes before them.
    return [
        click.Option(
            ["--vault"],
            metavar="PLACE",
            expose_value=False,
            callback=_remember,
            help="The vault: a file, or postgresql://… [env: VALETKEY_VAULT; else a file in your data folder].",
        ),
        click.Option(
            ["--key-file"],
            metavar="PATH",
            expose_value=False,
            callback=_remember,
            help="The vault's key [env: VALETKEY_KEY_FILE; else beside the vault, or in your data folder].",
        ),
        click.Option(
            ["--passphrase-fd"],
            metavar="N",
            type=click.IntRange(min=0),
            expose_value=False,
            callback=_remember,
            help="Read the vault's passphrase, if it has one, from this file descriptor [env: VALETKEY_PASSPHRASE_FD].",
        ),
        click.Option(
            ["--audit-log"],
            metavar="FILE",
            expose_value=False,
            callback=_remember,
            help="Write each line of the audit log to this file too; - is standard output [env: VALETKEY_AUDIT_LOG].",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="Answer in JSON, errors too.",
        ),
    ]


class Command(click.Command):
    """Be a command with the shared options behind its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_shared())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; a refusal knows of which command it speaks, so that its help can be named."""
        given = tuple(args)  # which click takes apart
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as refusal:
            refusal.ctx = refusal.ctx or ctx
            refuse_secret(refusal, ctx)
            if type(refusal) is click.UsageError and "--secret-stdin" in given:  # more arguments than there are places
                raise Misplaced(
                    "there is an argument too many, which is not repeated, for it may be the secret",
                    ctx,
                    cause="--secret-stdin takes no value: the secret comes on standard input",
                    fix=f"`… | {ctx.command_path} … --secret-stdin`, or `--secret-stdin < FILE`",
                ) from None
            raise


class Group(click.Group):
    """Be a noun: a group whose commands and which itself have the shared options."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_shared())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as refusal:
            refuse_secret(refusal, ctx)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones have names like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as refusal:
            turned = self._turned(ctx, args)
            if turned and not ctx.resilient_parsing:
                message = f"{refusal.message.rstrip('.')}; did you mean `{turned}`?"
                raise Misplaced(message, ctx, fix=f"`{turned}`") from None
            near = _near(args[0], self.list_commands(ctx))
            if near and not ctx.resilient_parsing:
                message = f"{refusal.message.rstrip('.')}; did you mean {' or '.join(near)}?"
                raise click.UsageError(message, ctx) from None
            raise

    def _turned(self, ctx: click.Context, args: list[str]) -> str:
        """Return the command that was meant where its verb was left out, or stands before its noun; else nothing."""
        from valetkey.values import shown_path  # late: only who mistypes needs it

        first, second, third = [*args, "", ""][:3]
        if shown_path(first) != first:
            return ""  # it looks like a secret
        if "/" in first and "://" not in first and "show" in self.list_commands(ctx):
            return f"{ctx.command_path} show {first}"
        for noun in (second, second.removesuffix("s")):
            found = self.get_command(ctx, noun)
            if isinstance(found, click.Group) and first in found.list_commands(ctx):
                named = [] if third.startswith("-") or shown_path(third) != third else [third]
                return " ".join([ctx.command_path, noun, first, *named]).rstrip()
        return ""


class FormCommand(Command):
    """Be a command with many options, which its callback takes as one value of the class `form`."""

    def __init__(self, *args: Any, form: type[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.form = form

    def invoke(self, ctx: click.Context) -> Any:
        """Call the callback with the session and the form."""
        assert self.callback is not None  # every command of ours has one
        return ctx.invoke(self.callback, ctx.obj, self.form(**ctx.params))


class ChoiceOrNone(click.Choice[Any]):
    """Be one of some words, or an empty text, which takes back what was said."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Let an empty text through."""
        return value if value == "" else super().convert(value, param, ctx)


class DayOrNone(click.DateTime):
    """Be a day, or an empty text, which takes back what was said."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Let an empty text through."""
        return value if value == "" else super().convert(value, param, ctx)


class Misplaced(click.UsageError):
    """Refuse arguments that another program was perhaps meant to get, with a fix of its own."""

    def __init__(self, message: str, ctx: click.Context, *, fix: str, cause: str = "") -> None:
        super().__init__(message, ctx)
        self.fix, self.cause = fix, cause


SECRET_OPTION: Final = re.compile(r"--?(?:[a-z]+-)*(?:secret|password|passwd|passphrase|token|api-?key|pass|pwd)")
"""What people try who would give a secret as an argument."""

WAYS: Final = {
    "--secret-stdin": "--secret-stdin",
    "--secret-ref": "--secret-ref REF",
    "--secret-file": "--secret-file FILE",
    "--passphrase-fd": "--passphrase-fd N",
}
"""How commands take secrets instead."""


def refuse_secret(refusal: click.UsageError, ctx: click.Context) -> None:
    """Refuse an option that would hold a secret, in place of click's refusal; raises Misplaced."""
    if not isinstance(refusal, click.NoSuchOption) or not SECRET_OPTION.fullmatch(refusal.option_name.lower()):
        return
    kind = "passphrase" if "pass" in refusal.option_name.lower() else "secret"
    takes = {name for parameter in ctx.command.params for name in parameter.opts}
    ways = [way for name, way in WAYS.items() if name in takes and name.startswith(f"--{kind}")]
    if "--secret-stdin" in ways:
        ways.append("the prompt")
    how = f"give it by {' or '.join(ways)}; " if ways else "this command takes none; "
    raise Misplaced(
        f"no such option {refusal.option_name}: secrets are never arguments",
        ctx,
        cause="other programs of this machine can read arguments, and the shell has written them into its history",
        fix=f"{how}delete the line from the history, or make a new secret",
    ) from None


class AfterDashes(Command):
    """Be a command that takes another program's arguments behind `--`; click does not look at those.

    `tail` is what the usage line says of them.
    """

    def __init__(self, *args: Any, tail: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tail = tail

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put what stands behind the first `--` aside and read the rest."""
        cut = args.index("--") if "--" in args else None
        if cut is not None:
            ctx.meta[BEHIND] = args[cut + 1 :]
        try:
            return super().parse_args(ctx, args[:cut])
        except click.UsageError as refusal:
            too_much = isinstance(refusal, click.NoSuchOption) or type(refusal) is click.UsageError
            if cut is not None or not too_much:
                raise
            form = " ".join([ctx.command_path, *self.collect_usage_pieces(ctx)])
            fix = f"arguments for another program stand behind --: `{form}`"
            raise Misplaced(refusal.format_message(), ctx, fix=fix) from None

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the part behind the dashes in the usage line."""
        return [*super().collect_usage_pieces(ctx), "--", self.tail]


BEHIND = "valetkey.behind"


def behind(context: click.Context, example: str) -> list[str]:
    """Return what stands behind `--`; raises InvalidInput when nothing does."""
    given: list[str] = context.meta.get(BEHIND, [])
    if not given:
        raise InvalidInput("nothing stands behind --", fix=f"for example: `{example}`")
    return given


def _near(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # late: only who mistypes needs it

    return get_close_matches(word, list(words), n=2)


def hosts_to_bind(given: Iterable[str]) -> tuple[str, ...]:
    """Return hosts that a token may be bound to; raises InvalidInput for one that would never match."""
    from valetkey.inject.rule import read_pattern  # late: only these options need it
    from valetkey.values import is_loopback

    hosts = tuple(given)
    for host in hosts:
        if read_pattern(host) is not None:
            continue
        here, shown = is_loopback(host), f"[{host.strip('[]')}]" if host.count(":") > 1 else host
        raise InvalidInput(
            f"--host {host[:80]!r} would match no address",
            cause="every program of this machine has a port of its own" if here else "",
            fix=f"write its port, --host {shown}:9000, or every port, --host '{shown}:*'"
            if here
            else "a name and perhaps a port: api.example.com, api.example.com:8443, *.example.com, 127.0.0.1:9000",
        )
    return hosts


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """Read `name=value` texts; raises InvalidInput."""
    read: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{option} takes name=value", fix=f"for example: {option} tenant=example.com")
        read[name] = value
    return read

"""What a reference to a secret is: which manager, which secret there, which field of it. Pure.

    vault:kv/google#client_secret       HashiCorp Vault or OpenBao, KV version 2
    aws-sm:prod/google#client_secret    AWS Secrets Manager; without #field the whole secret is meant; also by ARN
    file:/run/secrets/google            a file, whole
    env:GOOGLE_CLIENT_SECRET            a variable of the process: accepted, and warned about

What may not be here: I/O. A text that is no reference is never repeated, because it may be the secret itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, cast

from valetkey.errors import InvalidInput

Kind = Literal["vault", "aws-sm", "file", "env"]

LONGEST: Final = 2048
"""AWS takes names of 512 characters and ARNs of 2048; paths are shorter."""

_VAULT: Final = re.compile(r"[A-Za-z0-9_.@=+-]+(?:/[A-Za-z0-9_.@=+ -]+)+", re.ASCII)
_AWS: Final = re.compile(
    r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+"
    r"|[A-Za-z0-9/_+=.@!-]{1,512}",
    re.ASCII,
)
_FIELD: Final = re.compile(r"[^\s#/\x00-\x1f][^#\x00-\x1f]{0,254}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)

_EXAMPLES: Final = (
    "write vault:MOUNT/PATH#FIELD, aws-sm:NAME#FIELD, file:/PATH or env:NAME; docs/managers.md has examples"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Be the place of a secret. `name` is a path, name, ARN or variable; `field` is a member of what is there."""

    kind: Kind
    name: str
    field: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises InvalidInput, which does not repeat it."""
        kind, colon, rest = text.partition(":")
        check = _KINDS.get(kind)
        if not colon or check is None or len(text) > LONGEST or not text.isprintable():
            raise InvalidInput("this is no reference to a secret", cause="it begins with no manager", fix=_EXAMPLES)
        name, wrong = rest, ""
        field = ""
        if kind in {"vault", "aws-sm"}:
            name, hash_, field = rest.partition("#")
            wrong = "the field after # is no name" if hash_ and not _FIELD.fullmatch(field) else ""
        wrong = wrong or check(name, field)
        if wrong:
            raise InvalidInput(f"this is no reference to a secret of {kind}: {wrong}", fix=_EXAMPLES)
        return cls(cast("Kind", kind), name, field)

    @classmethod
    def target(cls, text: str) -> Reference:
        """Read where a token shall be written: a whole secret or file, without a field; raises InvalidInput."""
        kind, _, name = text.partition(":")
        writable = kind in {"vault", "aws-sm", "file"} and "#" not in text
        if not writable or not text.isprintable() or _KINDS[kind](name, "any"):
            raise InvalidInput(
                "nothing can be written there", fix="write file:/PATH, vault:MOUNT/PATH or aws-sm:NAME, without a field"
            )
        return cls(cast("Kind", kind), name)

    @property
    def region(self) -> str:
        """Return the region that an ARN names, or nothing."""
        return self.name.split(":")[3] if self.kind == "aws-sm" and self.name.startswith("arn:") else ""

    @property
    def place(self) -> str:
        """Return the reference without its field."""
        return f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        return self.place + (f"#{self.field}" if self.field else "")


def _vault(name: str, field: str) -> str:
    if not _VAULT.fullmatch(name) or {".", ".."} & set(name.split("/")):
        return "the path is not MOUNT/PATH"
    return "" if field else "the field is missing after #"


def _aws(name: str, _field: str) -> str:
    return "" if _AWS.fullmatch(name) else "neither a name nor an ARN of Secrets Manager"


def _file(name: str, _field: str) -> str:
    return "" if name.startswith("/") or re.match(r"[A-Za-z]:[\\/]", name) else "the path does not begin at the root"


def _env(name: str, _field: str) -> str:
    return "" if _VARIABLE.fullmatch(name) else "a variable has letters, digits and _"


_KINDS: Final[dict[str, Callable[[str, str], str]]] = {"vault": _vault, "aws-sm": _aws, "file": _file, "env": _env}

"""The root of all errors: how one is made, shown, told to programs, and sent between processes.

What may not be here: any kind of error (errors.py, which is also where everybody imports this from).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, TypeAlias

Fact: TypeAlias = str | int | float | bool


class ValetkeyError(Exception):
    """Be the root of all errors; never raised itself.

    `message` says what happened, `cause` why (as far as evidence goes), `fix` what to do next.
    `evidence` holds short, secret-free facts for programs (`to_dict`), logs, and the properties of subclasses.
    A plain traceback shows cause and fix as well, as notes of the exception (PEP 678).
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1
    cause: str = ""
    fix: str = ""

    def __init__(self, message: str, *, code: str = "", cause: str = "", fix: str = "", **evidence: Fact) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.cause = cause or type(self).cause
        self.fix = fix or type(self).fix
        self.evidence: Mapping[str, Fact] = MappingProxyType(evidence)
        self._added: list[str] = []

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process pools by pickle, and the default forgets keyword arguments.
        texts = {"code": self.code, "cause": self.cause, "fix": self.fix}
        return (_rebuild, (type(self), self.message, texts, dict(self.evidence)), self.__getstate__())

    def __getstate__(self) -> dict[str, object]:
        return {"_added": list(self._added)}

    @property
    def __notes__(self) -> list[str]:
        """Return what a traceback shows below the message: cause and fix as they are now, and the notes added."""
        return [*self._lines(), *self._added]

    @__notes__.setter
    def __notes__(self, notes: Iterable[str]) -> None:
        own = self._lines()
        self._added = [note for note in notes if note not in own]

    def add_note(self, note: str, /) -> None:
        """Add a note, as every exception takes them (PEP 678)."""
        super().add_note(note)  # which refuses what is no text, and adds to a list that was made for it alone
        self._added.append(note)

    def explain(self) -> str:
        """Return message, cause and fix as lines for a person."""
        return "\n".join([f"{self.message} [{self.code}]", *self._lines()])

    def _told(self) -> dict[str, str]:
        """Return what is said below the message; empty texts are left out there."""
        return {"cause": self.cause, "fix": self.fix}

    def _lines(self) -> list[str]:
        told = {f"{word}:": text for word, text in self._told().items() if text}
        width = max(map(len, ("cause:", *told)))
        return [f"  {word:<{width}} {text}" for word, text in told.items()]

    def to_dict(self) -> dict[str, object]:
        """Return the error for programs: code, message, cause, fix and evidence."""
        texts = {"code": self.code, "message": self.message, "cause": self.cause, "fix": self.fix}
        shown: dict[str, object] = {name: text for name, text in texts.items() if text}
        return {**shown, **({"evidence": dict(self.evidence)} if self.evidence else {})}


def _rebuild(
    kind: type[ValetkeyError], message: str, texts: dict[str, str], evidence: dict[str, Fact]
) -> ValetkeyError:
    return kind(message, code=texts["code"], cause=texts["cause"], fix=texts["fix"], **evidence)

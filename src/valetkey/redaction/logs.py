"""Log records without secrets: a filter for handlers and loggers, and a processor for structlog.

What may not be here: what a secret looks like (masks.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from valetkey.redaction.masks import MASK, redacted, telling

DEPTH: Final = 6
"""Levels of nested objects that are looked into; what lies deeper is written as one text."""

MEMBERS: Final = 200
"""Members of one object that are looked at; the rest is left out."""

_PLAIN: Final = (int, float, bool, type(None))

_OF_A_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; whatever else is there was given as `extra`."""

_FORMATTER: Final = logging.Formatter()


class RedactingFilter(logging.Filter):
    """Mask what looks like a secret in a record: message, arguments, extras, traceback and stack. Drops nothing.

    Put it on handlers: a logger's own filters are not asked about what its children say. The record itself is changed,
    so handlers that come after see it masked too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place; always true."""
        _mask_message(record)
        if record.exc_info and not record.exc_text:
            told = _FORMATTER.formatException(record.exc_info) if record.exc_info[0] is not None else ""
            masked = redacted(told)
            if masked != told:  # else it stays, for handlers that look into exceptions themselves
                record.exc_info, record.exc_text = None, masked
        elif record.exc_text:
            record.exc_text, record.exc_info = redacted(record.exc_text), None
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        for name in vars(record).keys() - _OF_A_RECORD:
            setattr(record, name, MASK if telling(name) and _says(vars(record)[name]) else _masked(vars(record)[name]))
        return True


def _mask_message(record: logging.LogRecord) -> None:
    if isinstance(record.args, Mapping) and any(telling(name) for name in record.args):
        record.args = _members(record.args, 0)
    said = _said(record)
    if said is not None and redacted(said) == said:
        return
    # The arguments one by one first: some formatters (uvicorn's) take them apart.
    arguments = record.args
    if isinstance(arguments, tuple):
        record.args = tuple(_masked(one) for one in arguments)
    elif isinstance(arguments, Mapping):
        record.args = _members(arguments, 0)
    said = _said(record)
    if said is None:
        record.msg, record.args = redacted(f"{record.msg} {record.args!r}"), ()
        return
    masked = redacted(said)
    if masked != said:
        record.msg, record.args = masked, ()


def _said(record: logging.LogRecord) -> str | None:
    """Return the message, None where its arguments do not fit it: logging itself would print both, unmasked."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # any `__str__` of a stranger may be at fault
        return None


def processor(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what looks like a secret in an event of structlog; put it before the renderer, behind format_exc_info."""
    for name, value in event.items():
        event[name] = MASK if telling(name) and _says(value) else _masked(value)
    return event


def install(*where: logging.Handler | logging.Logger) -> None:
    """Let handlers mask: those given, those of the loggers given, by default those of the root logger.

    Call it after the handlers are made; handlers that are added later are not reached. Twice changes nothing.
    """
    for one in where or (logging.getLogger(),):
        handlers = one.handlers if isinstance(one, logging.Logger) else [one]
        for handler in handlers:
            _add(handler)


def guard(names: Iterable[str]) -> None:
    """Let loggers of these names, and those below them that exist, mask what they say themselves, to whatever handler.

    Call it after the library was imported, which is when its loggers are made. Twice changes nothing.
    """
    # A copy, made at once: other threads import libraries, and make loggers, meanwhile.
    known = [name for name, one in list(logging.root.manager.loggerDict.items()) if isinstance(one, logging.Logger)]
    for root in names:
        for name in {root, *(one for one in known if one.startswith(f"{root}."))}:
            _add(logging.getLogger(name))


def _add(place: logging.Filterer) -> None:
    if not any(isinstance(one, RedactingFilter) for one in place.filters):
        place.addFilter(RedactingFilter())


def _says(value: object) -> bool:
    return not (value is None or isinstance(value, bool) or value == "")


def _masked(value: Any, depth: int = 0) -> Any:
    """Return a value without what looks like a secret: the same one where there is nothing to mask."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, str):
        return redacted(value)
    if depth < DEPTH and isinstance(value, Mapping):
        return _members(value, depth)
    if depth < DEPTH and type(value) in {list, tuple, set, frozenset}:
        return type(value)(_masked(one, depth + 1) for one in list(value)[:MEMBERS])
    told = value.decode("latin-1") if isinstance(value, bytes | bytearray) else _told(value)
    masked = redacted(told)
    return value if masked == told else masked


def _members(members: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    return {
        name: MASK if isinstance(name, str) and telling(name) and _says(value) else _masked(value, depth + 1)
        for name, value in list(members.items())[:MEMBERS]
    }


def _told(value: object) -> str:
    try:
        return f"{value}\n{value!r}"
    except Exception:  # noqa: BLE001  # a stranger's `__repr__`
        return type(value).__name__

"""A provider's members as dotted paths, and where each of them was read.

`refresh.rotates` is such a path, `notes.2` is the third note, `answer.errors.bad_client_secret` one word of a
dictionary. What may not be here: anything that knows a particular provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from valetkey.providers.schema import Provider, Source

POINTERS = frozenset({"key", "name", "docs", "console", "sources"})
"""Members that say nothing of the provider's behaviour, so that no source is asked for them."""


def leaves(provider: Provider, *, defaults: bool = False) -> dict[str, object]:
    """Return the members by dotted path; those at their default only with `defaults`.

    Lists are one leaf each, except the notes, of which every one is a fact of its own.
    """
    return {path: value for path, value in _walk("", provider, defaults=defaults) if path not in POINTERS}


def source_of(provider: Provider, path: str) -> Source | None:
    """Return where a member was read: the source whose facts name it most closely, None if there is none."""
    named = ((fact, source) for source in provider.sources for fact in source.facts if covers(fact, path))
    return max(named, key=lambda pair: len(pair[0]), default=("", None))[1]


def covers(fact: str, path: str) -> bool:
    """Say whether a fact is this member or holds it (`endpoints` holds `endpoints.token`)."""
    return path == fact or path.startswith(f"{fact}.")


def _walk(path: str, value: object, *, defaults: bool) -> Iterator[tuple[str, object]]:
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            member = getattr(value, field.name)
            below = f"{path}.{field.name}" if path else field.name
            if defaults or isinstance(member, msgspec.Struct) or member != _default(field):
                yield from _walk(below, member, defaults=defaults)
    elif isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from _walk(f"{path}.{name}", member, defaults=defaults)
    elif path == "notes" and isinstance(value, list):
        yield from ((f"notes.{place}", note) for place, note in enumerate(value))
    else:
        yield path, value


def _default(field: msgspec.structs.FieldInfo) -> object:
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()

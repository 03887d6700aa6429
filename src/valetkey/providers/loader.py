"""Read providers: from the catalogue inside the package, from a user's folders, from bytes.

One file is read when it is asked for, and remembered. What may not be here: guessing where a user keeps files,
and the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from valetkey.errors import InvalidInput, NotFound
from valetkey.providers.checks import CHANGEABLE, KEY, checked, wrong
from valetkey.providers.facts import leaves
from valetkey.providers.schema import Provider
from valetkey.providers.templates import substituted, values_for

SUFFIX: Final = ".toml"
SIZE_LIMIT: Final = 1 << 18
"""Most bytes of a file we read: the catalogue's largest has 6 KB, so 256 KB is a wrong file and not a long one."""

REMEMBERED: Final = 256
"""Most providers of one kind, or wrong names asked for, kept in memory at once."""


def keys(folders: Sequence[Path] = ()) -> list[str]:
    """Return the keys of all providers, sorted; `folders` add those of a user's own files."""
    found = {entry.name.removesuffix(SUFFIX) for entry in _catalogue().iterdir() if entry.name.endswith(SUFFIX)}
    for folder in folders:
        found.update(path.stem for path in folder.glob(f"*{SUFFIX}") if KEY.fullmatch(path.stem))
    return sorted(found)


def load(key: str, folders: Sequence[Path] = ()) -> Provider:
    """Return a provider, unfilled. A file of the same key in `folders` goes before the catalogue's, the first first.

    Raises NotFound with near names, or InvalidInput for a user's file that cannot be read as a provider.
    """
    if KEY.fullmatch(key):
        for folder in folders:
            path = folder / f"{key}{SUFFIX}"
            if path.is_file():
                return _from_file(path)
        built_in = _built_in(key)
        if built_in is not None:
            return built_in
    alike = near(key, folders)
    raise NotFound(
        f"there is no provider {key[:60]!r}",
        fix=(f"did you mean {' or '.join(alike)}? " if alike else "")
        + "`valetkey provider list` shows all; for any other server take `generic` and give its URLs",
    )


def read(data: str | bytes, where: str) -> Provider:
    """Return the provider written in a TOML text; `where` names it in errors.

    Raises InvalidInput; its evidence holds the dotted path of the wrong member as `member`.
    """
    if len(data) > SIZE_LIMIT:
        raise wrong(where, "", f"is larger than {SIZE_LIMIT} bytes", "give the path of a provider's TOML file")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        tree = msgspec.toml.decode(text)
        return checked(_converted(tree, where, strict=True), where or "file")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = str(error) if isinstance(error, msgspec.DecodeError) else "not UTF-8 text"
        raise wrong(where, "", f"cannot be read as TOML: {fault[:200]}", "see https://toml.io for the rules") from None


def filled(provider: Provider, params: Mapping[str, str]) -> Provider:
    """Return the provider with its {braces} filled and every URL checked once more.

    Raises InvalidInput or InsecureUrl for a parameter that is unknown, missing, or does not fit.
    """
    return checked(substituted(provider, values_for(provider, params)))


def overridden(provider: Provider, changes: Mapping[str, object]) -> Provider:
    """Return the provider with members changed: `{"endpoints.token": "https://…", "api.hosts": ["…"]}`.

    A change of None takes a member back to its default. Texts are read as numbers, truth values or lists (parted
    by blanks or commas) where the member is one. Raises InvalidInput.
    """
    tree: dict[str, Any] = msgspec.to_builtins(provider)
    members = leaves(provider, defaults=True)
    for path, value in changes.items():
        *above, last = path.split(".")
        if (above or [last])[0] not in CHANGEABLE:
            raise wrong(provider.key, path, "cannot be changed", f"one of: {', '.join(sorted(CHANGEABLE))}")
        level = tree
        for name in above:
            level = level.setdefault(name, {})
            if not isinstance(level, dict):
                raise wrong(provider.key, path, "there is no such member")
        if value is None:
            level.pop(last, None)
        else:
            listed = isinstance(value, str) and isinstance(members.get(path), list)
            level[last] = re.split(r"[\s,]+", str(value).strip(" \t\r\n,")) if listed else value
    return checked(_converted(tree, provider.key, strict=False))


def _converted(tree: Any, where: str, *, strict: bool) -> Provider:
    try:
        return msgspec.convert(tree, Provider, strict=strict)
    except msgspec.ValidationError as error:
        fault, _at, path = str(error).partition(" - at `")
        member = path.rstrip("`").removeprefix("$").lstrip(".")
        raise wrong(where, member, fault) from None


def _catalogue() -> Any:
    # Late: whoever brings a filled provider of its own never pays for it.
    from importlib.resources import files

    return files("valetkey.providers") / "catalogue"


@lru_cache(maxsize=REMEMBERED)
def _built_in(key: str) -> Provider | None:
    entry = _catalogue() / f"{key}{SUFFIX}"
    where = f"catalogue/{key}{SUFFIX}"
    return _named(key, read(entry.read_bytes(), where), where) if entry.is_file() else None


def _from_file(path: Path) -> Provider:
    try:
        stat = path.stat()
        return _remembered(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", fix="check the file's permissions") from None


@lru_cache(maxsize=REMEMBERED)
def _remembered(path: Path, _changed: int, size: int) -> Provider:
    if size > SIZE_LIMIT:
        raise wrong(str(path), "", f"is larger than {SIZE_LIMIT} bytes")
    return _named(path.stem, read(path.read_bytes(), str(path)), str(path))


def _named(key: str, provider: Provider, where: str) -> Provider:
    if provider.key != key:
        raise wrong(where, "key", f"is {provider.key!r}, but the file is named {key!r}")
    return provider


def near(key: str, folders: Sequence[Path] = ()) -> list[str]:
    """Return at most three keys of providers that are written or called like this."""
    from difflib import get_close_matches  # late: only who mistypes needs it

    wanted = key.lower()
    alike = get_close_matches(wanted, keys(folders), n=3, cutoff=0.6)
    named = [name for name in keys() if len(wanted) > 2 and wanted in load(name).name.lower()]
    return list(dict.fromkeys([*alike, *named]))[:3]

"""Writing a token to where programs read it: a file, a KV secret of a HashiCorp Vault, a secret of AWS.

What may not be here: when a token is written, and what stands in it (vault/publishing.py).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from valetkey.managers.aws import Aws
from valetkey.managers.failures import unavailable
from valetkey.managers.kv import Kv
from valetkey.managers.reference import Reference

BLANK: Final = "{}"
"""What AWS holds when nothing is published any more: a secret cannot be empty, and its deletion takes a week."""


def write(
    target: Reference, fields: Mapping[str, str], text: str, kv: Callable[[], Kv], aws: Callable[[], Aws]
) -> None:
    """Write `fields` (HashiCorp) or `text` (file, AWS); with neither, remove the file, or blank the secret.

    Raises ManagerRefused, ManagerUnavailable or InvalidInput.
    """
    doing = f"write {target.place}"
    if target.kind == "vault":
        kv().write(target.name, fields or {"access_token": ""}, doing)
    elif target.kind == "aws-sm":
        aws().ask(
            "secretsmanager", lambda client: _put(client, target.name, text or BLANK), doing, region=target.region
        )
    else:
        _file(Path(target.name), text)


def _put(client: Any, name: str, text: str) -> None:
    try:
        client.put_secret_value(SecretId=name, SecretString=text)
    except client.exceptions.ResourceNotFoundException:
        client.create_secret(Name=name, SecretString=text)


def _file(place: Path, text: str) -> None:
    """Put a file in place whole, for its owner alone; who reads sees the old one or the new one, never half of one."""
    try:
        if not text:
            place.unlink(missing_ok=True)
            _flush(place.parent)
            return
        descriptor, made = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mode 0600, whatever the umask
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(made).replace(place)
        except BaseException:
            with suppress(OSError):
                Path(made).unlink()
            raise
        _flush(place.parent)
    except OSError as refusal:
        raise unavailable(
            f"file:{place} cannot be written: {refusal.strerror}",
            cause="its folder is not there, not ours, or full",
            fix="make the folder; what was published before stands until then",
        ) from None


def _flush(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""AWS Secrets Manager: read a secret in one of its stages, write a new version.

What may not be here: credentials and what refusals mean (aws.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from valetkey.managers.aws import Aws
from valetkey.managers.failures import refused
from valetkey.managers.kv import field_of
from valetkey.managers.reference import Reference
from valetkey.values import Secret

Stage = Literal["AWSCURRENT", "AWSPREVIOUS"]

CURRENT: Final[Stage] = "AWSCURRENT"
PREVIOUS: Final[Stage] = "AWSPREVIOUS"
"""The staging labels that Secrets Manager moves by itself with each new version."""


def read(aws: Aws, reference: Reference, stage: Stage = CURRENT) -> Secret:
    """Return a secret, or a field of one that is a JSON object; raises ManagerRefused, ManagerUnavailable."""
    answer: Mapping[str, Any] = aws.ask(
        "secretsmanager",
        lambda client: client.get_secret_value(SecretId=reference.name, VersionStage=stage),
        f"read {reference.place} ({stage})",
        region=reference.region,
    )
    text = answer.get("SecretString")
    if not isinstance(text, str) or not text:
        raise refused(
            f"{reference.place} is no text",
            code="manager_secret_missing",
            cause="it was stored as binary, or is empty",
            fix="store it as a string, or as a JSON object of strings",
        )
    if not reference.field:
        return Secret(text)
    try:
        members = msgspec.json.decode(text)
    except msgspec.DecodeError:
        members = None
    if not isinstance(members, dict):
        raise refused(
            f"{reference.place} has no fields",
            code="manager_secret_missing",
            cause="it is a plain text, and no JSON object",
            fix="leave out #FIELD, or store it as a JSON object",
        )
    return field_of(members, reference.field, reference.place)

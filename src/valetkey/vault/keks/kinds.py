"""What stands in the clear in a keyring's box of how to come by its key: a kind and its parameters, no secret.

What may not be here: asking anybody for a key.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from valetkey.errors import VaultDamaged

SALT_BYTES: Final = 16
"""RFC 9106 section 4: 128 bits are enough for all applications."""

MEMORY: Final = 65_536
ITERATIONS: Final = 3
LANES: Final = 4
"""RFC 9106 section 4, the second recommended option: 64 MiB, three passes, four lanes. Memory in KiB."""

MEMORY_MOST: Final = 2_097_152
ITERATIONS_MOST: Final = 64
LANES_MOST: Final = 16
"""RFC 9106's first recommended option is 2 GiB; whoever can write the box must not fill our memory or take our day."""


class PassphraseKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="passphrase", tag_field="kind"):
    """Be how argon2id makes the key of a passphrase."""

    salt: bytes
    memory: int = MEMORY
    iterations: int = ITERATIONS
    lanes: int = LANES

    @property
    def shown(self) -> str:
        """Return where the key is, for people."""
        return "a passphrase"

    def check(self) -> None:
        """Refuse parameters that make guessing cheap, and those that would stop this machine; raises VaultDamaged."""
        wanted = (
            (self.memory, MEMORY, MEMORY_MOST),
            (self.iterations, ITERATIONS, ITERATIONS_MOST),
            (self.lanes, LANES, LANES_MOST),
            (len(self.salt), SALT_BYTES, SALT_BYTES),
        )
        if not all(least <= value <= most for value, least, most in wanted):
            raise VaultDamaged(
                "the keyring asks for argon2id with parameters that valetkey never writes",
                cause="somebody who can write to the store changed it, perhaps to learn the passphrase cheaply",
                fix="type the passphrase nowhere until the vault is restored from a backup; nothing was changed",
            )


class TransitKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="transit", tag_field="kind"):
    """Be the key of a Transit engine, and the vault's key as that encrypted it."""

    mount: str
    name: str
    wrapped: str

    @property
    def shown(self) -> str:
        """Return where the key is, for people."""
        return f"Transit key {self.mount}/{self.name}"


class AwsKmsKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="aws-kms", tag_field="kind"):
    """Be a key of AWS KMS, and the vault's key as that encrypted it."""

    arn: str
    wrapped: bytes

    @property
    def shown(self) -> str:
        """Return where the key is, for people."""
        return f"AWS KMS key {self.arn}"

    @property
    def region(self) -> str:
        """Return the region that the ARN names."""
        return self.arn.split(":")[3]


class KeychainKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keychain", tag_field="kind"):
    """Be an item of the operating system's keychain."""

    service: str
    account: str

    @property
    def shown(self) -> str:
        """Return where the key is, for people."""
        return "the keychain"


TRANSIT_NAME: Final = re.compile(r"(?:([A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)/)?([A-Za-z0-9_-][A-Za-z0-9._-]*)")
KMS_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]+")
"""What `--to` takes, and what is taken from a box: nothing that leads to another path or service."""

Kind: TypeAlias = PassphraseKind | TransitKind | AwsKmsKind | KeychainKind

_DECODER: Final = msgspec.json.Decoder(Kind)  # laid out on import, by one thread (schema.py)
_ENCODER: Final = msgspec.json.Encoder()


def written(kind: Kind) -> bytes:
    """Return a kind as the descriptor of a box."""
    return _ENCODER.encode(kind)


def read(descriptor: bytes) -> Kind:
    """Read the descriptor of a box; raises VaultDamaged."""
    try:
        kind: Kind = _DECODER.decode(descriptor)
        if isinstance(kind, TransitKind) and not TRANSIT_NAME.fullmatch(f"{kind.mount}/{kind.name}"):
            raise msgspec.ValidationError
        if isinstance(kind, AwsKmsKind) and not KMS_ARN.fullmatch(kind.arn):
            raise msgspec.ValidationError
        return kind  # noqa: TRY300  # the checks belong to reading
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise VaultDamaged(
            "the keyring does not say in a way that is known here how its key is kept",
            cause="it was changed, or written by a later valetkey",
            fix="use the newest valetkey, or restore the vault from a backup; nothing was changed",
        ) from None

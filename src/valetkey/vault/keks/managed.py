"""A key that a key management service keeps: HashiCorp Vault's Transit engine (OpenBao too), and AWS KMS.

The vault's key is 32 random bytes; the service encrypts them, bound to the vault's id, and the box holds what came of
it. Where the service is, is not in the box: who can write the box must not choose to whom we log in.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any, Final

from valetkey.errors import ManagerRefused, ManagerUnavailable, ValetkeyError, WrongKey
from valetkey.managers.failures import refused, unavailable
from valetkey.vault.keks.kinds import AwsKmsKind, TransitKind, written
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.seal import KEY_BYTES

CONTEXT_NAME = "valetkey:vault"
"""Name of the encryption context at AWS KMS; a key's policy may demand a value of it."""


def new_transit_key(mount: str, name: str, vault_id: bytes) -> KeyFile:
    """Draw a key and let Transit encrypt it; it was decrypted again before this returns.

    Raises ManagerRefused, ManagerUnavailable or InvalidInput.
    """
    key = os.urandom(KEY_BYTES)
    plaintext = base64.b64encode(key).decode()
    answer = _transit(TransitKind(mount, name, ""), "encrypt", {"plaintext": plaintext}, vault_id)
    return _proved(key, TransitKind(mount, name, str(answer.get("ciphertext", ""))), vault_id)


def new_kms_key(arn: str, vault_id: bytes) -> KeyFile:
    """Draw a key and let AWS KMS encrypt it; it was decrypted again before this returns; raises as new_transit_key."""
    key = os.urandom(KEY_BYTES)
    kind = AwsKmsKind(arn, b"")
    blob = _kms(kind, lambda kms, more: kms.encrypt(Plaintext=key, **more)["CiphertextBlob"], "encrypt", vault_id)
    return _proved(key, AwsKmsKind(arn, blob), vault_id)


def _proved(key: bytes, kind: TransitKind | AwsKmsKind, vault_id: bytes) -> KeyFile:
    made = KeyFile(key, kind.shown, written(kind))
    if fetched(kind, vault_id).key_id != made.key_id:  # compared: fingerprints
        raise WrongKey(f"{kind.shown} does not give back what it encrypted", fix="nothing was changed")
    return made


def opened(kind: TransitKind | AwsKmsKind, vault_id: bytes) -> KeyFile:
    """Fetch the key of a vault that is to be opened; raises as `fetched`, saying where it is and what opens it else."""
    try:
        return fetched(kind, vault_id)
    except ManagerUnavailable as weather:
        raise unavailable(_shut(kind, weather), weather.evidence, code=weather.code, fix=f"{_LATER}; {_KIT}") from None
    except ManagerRefused as refusal:
        fix = _LOGIN if refusal.fix == ManagerRefused.fix else refusal.fix
        raise refused(
            _shut(kind, refusal), refusal.evidence, code=refusal.code, cause=refusal.cause, fix=f"{fix}; {_KIT}"
        ) from None


_LATER: Final = "try again once it is there"
_LOGIN: Final = "check what is logged in with, and what its policy lets it do with that key"
_KIT: Final = "with the key of the recovery kit, --key-file opens the vault too. Nothing was changed"


def _shut(kind: TransitKind | AwsKmsKind, refusal: ValetkeyError) -> str:
    return f"the key of this vault is kept under {kind.shown}: {refusal.message}"


def fetched(kind: TransitKind | AwsKmsKind, vault_id: bytes) -> KeyFile:
    """Let the service decrypt the vault's key; raises WrongKey, ManagerRefused, ManagerUnavailable or InvalidInput."""
    try:
        if isinstance(kind, AwsKmsKind):
            blob = kind.wrapped
            key = _kms(kind, lambda kms, more: kms.decrypt(CiphertextBlob=blob, **more)["Plaintext"], "use", vault_id)
        else:
            answer = _transit(kind, "decrypt", {"ciphertext": kind.wrapped}, vault_id)
            key = base64.b64decode(str(answer.get("plaintext", "")), validate=True)
    except binascii.Error:
        key = b""
    except ManagerRefused as refusal:
        code = refusal.evidence.get("aws_code", "")
        if code not in {"InvalidCiphertextException", "IncorrectKeyException"} and refusal.status != 400:
            raise
        key = b""
    if len(key) != KEY_BYTES:
        raise WrongKey(
            f"{kind.shown} does not open this vault",
            cause="it is another key of that name, its old versions were removed, or the box is of another vault",
            fix="bring that key back, or open the vault with --key-file and the recovery kit; nothing was changed",
        )
    return KeyFile(key, kind.shown, written(kind))


def _transit(kind: TransitKind, verb: str, body: dict[str, str], vault_id: bytes) -> dict[str, Any]:
    from valetkey.managers.hashicorp import HashiCorp, Settings  # late: an extra, and costs to import

    bound = base64.b64encode(b"valetkey vault " + vault_id.hex().encode()).decode()
    # associated_data binds under any key; context is what a key with derivation demands, and others leave aside.
    body = {**body, "associated_data": bound, "context": bound}
    manager = HashiCorp(Settings.of())
    try:
        address = f"/v1/{kind.mount}/{verb}/{kind.name}"
        answer = manager.ask(lambda client: client.adapter.post(url=address, json=body), f"{verb} with {kind.shown}")
        found = answer.get("data") if isinstance(answer, dict) else None
        return found if isinstance(found, dict) else {}
    finally:
        manager.close()


def _kms(kind: AwsKmsKind, work: Any, verb: str, vault_id: bytes) -> bytes:
    from valetkey.managers.aws import Aws  # late: an extra, and costs to import

    more = {"KeyId": kind.arn, "EncryptionContext": {CONTEXT_NAME: vault_id.hex()}}
    aws = Aws()
    try:
        return bytes(aws.ask("kms", lambda kms: work(kms, more), f"{verb} {kind.shown}", region=kind.region))
    finally:
        aws.close()

"""A vault whose key a service keeps: Transit (a conforming server, or TEST_VAULT_ADDR's), and AWS KMS as moto serves it."""

from __future__ import annotations

import base64
import json
import os
import uuid

import boto3
import hvac
import pytest

import valetkey
from keykit import a_vault, box_of, opens
from valetkey.errors import InvalidInput, ManagerRefused, ManagerUnavailable, WrongKey
from valetkey.vault import backup
from valetkey.vault.keks.giving import kek_of
from valetkey.vault.keks.rewrap import Target, create, rewrap
from valetkey.vault.keyring import Head
from valetkey.vault.places import Place

pytestmark = pytest.mark.network


@pytest.fixture
def place(tmp_path):
    return a_vault(tmp_path / "vault.db")


# ── Transit ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def peer(reached, monkeypatch):
    """Give hvac as a stranger to our code, logged in as root, and the environment that leads to the same server."""
    monkeypatch.setenv("VAULT_ADDR", reached.address)
    monkeypatch.setenv("VAULT_TOKEN", reached.token)
    client = hvac.Client(url=reached.address, token=reached.token)
    yield client
    client.adapter.close()


@pytest.fixture
def small(vault_server, monkeypatch):
    """Give the conforming server itself, whose keys and seal a test can change, also where a real one is set."""
    monkeypatch.setenv("VAULT_ADDR", vault_server.address)
    monkeypatch.setenv("VAULT_TOKEN", vault_server.root)
    return vault_server


@pytest.mark.parametrize("derived", [False, True])
def test_transit_keeps_the_key_and_hvac_opens_it_only_with_the_vaults_own_id(place, peer, derived):
    name = f"valetkey-{uuid.uuid4().hex}"
    peer.secrets.transit.create_key(name, derived=derived)
    assert rewrap(place, Target.of(f"transit:{name}")).after == f"Transit key transit/{name}"
    place.key_path(b"").unlink()
    assert opens(place)
    head = Head.of(box_of(place))
    bound = base64.b64encode(b"valetkey vault " + head.vault_id.hex().encode()).decode()
    wrapped = json.loads(head.descriptor)["wrapped"]

    def decrypted(word):
        body = {"ciphertext": wrapped, "context": word, "associated_data": word}
        return peer.adapter.post(url=f"/v1/transit/decrypt/{name}", json=body)["data"]["plaintext"]

    assert base64.b64decode(decrypted(bound)) == kek_of(place, box_of(place), None).reveal()
    with pytest.raises(hvac.exceptions.InvalidRequest):
        decrypted(base64.b64encode(b"valetkey vault 0000000000000000").decode())


def test_a_transit_key_that_was_rotated_still_opens_the_vault(place, peer):
    name = f"valetkey-{uuid.uuid4().hex}"
    rewrap(place, Target.of(f"transit:{name}"))
    peer.secrets.transit.rotate_key(name)
    assert opens(place)


def test_another_transit_key_of_the_name_is_called_wrong_and_writes_nothing(place, small):
    rewrap(place, Target.of("transit:valetkey"))
    before = box_of(place)
    small.mounts["", "transit/"].keys["valetkey"]["versions"] = [os.urandom(32)]
    with pytest.raises(WrongKey) as refusal:
        opens(place)
    assert refusal.value.fix
    assert box_of(place) == before


def test_a_sealed_server_is_no_wrong_key_and_leaves_a_rewrap_undone(place, small):
    before = box_of(place)
    small.sealed = True
    with pytest.raises(ManagerUnavailable):
        rewrap(place, Target.of("transit:valetkey"))
    assert box_of(place) == before
    assert opens(place)


def test_no_log_of_transit_holds_the_vaults_key_or_a_token(place, small, loud, canary):
    canary.watch("token of the Vault", small.root)
    rewrap(place, Target.of("transit:valetkey"))
    place.key_path(b"").unlink()
    assert opens(place)
    canary.watch("the vault's key", base64.b64encode(kek_of(place, box_of(place), None).reveal()).decode())
    assert "/v1/transit/decrypt/valetkey" in loud.text
    canary.assert_absent(loud.text)


# ── AWS KMS ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kms(aws_endpoint):
    client = boto3.client("kms")
    yield client
    client.close()


def test_kms_keeps_the_key_and_opens_it_only_in_the_vaults_encryption_context(place, kms, tmp_path):
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    assert rewrap(place, Target.of(f"aws-kms:{arn}")).after == f"AWS KMS key {arn}"
    place.key_path(b"").unlink()
    assert opens(place)
    head = Head.of(box_of(place))
    blob = base64.b64decode(json.loads(head.descriptor)["wrapped"])
    context = {"valetkey:vault": head.vault_id.hex()}
    plain = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"]
    assert plain == kek_of(place, box_of(place), None).reveal()
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext={"valetkey:vault": "00" * 8})
    backup.backup(place, tmp_path / "copy.backup")
    assert backup.restore(tmp_path / "copy.backup", place).key_file is None


def test_a_vault_is_made_under_kms_and_taken_back_to_a_file(tmp_path, kms):
    place, arn = Place.of(tmp_path / "new.db"), kms.create_key()["KeyMetadata"]["Arn"]
    create(place, Target.of(f"aws-kms:{arn}"))
    valetkey.open(place.path, create=False).close()
    assert rewrap(place, Target("file")).before == f"AWS KMS key {arn}"
    valetkey.open(place.path, create=False).close()


def test_a_kms_key_that_is_not_there_changes_nothing(place, kms):
    before = box_of(place)
    with pytest.raises(ManagerRefused):
        rewrap(
            place, Target.of("aws-kms:arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000")
        )
    assert box_of(place) == before


def test_no_log_of_kms_holds_the_vaults_key_or_the_credentials(place, kms, loud, canary, monkeypatch):
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary.make("secret access key"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", canary.make("session token"))
    rewrap(place, Target.of(f"aws-kms:{arn}"))
    place.key_path(b"").unlink()
    assert opens(place)
    canary.watch("the vault's key", base64.b64encode(kek_of(place, box_of(place), None).reveal()).decode())
    assert "TrentService.Decrypt" in loud.text
    canary.assert_absent(loud.text)


@pytest.mark.parametrize("text", ["aws-kms:", "aws-kms:alias/x", "transit:", "transit:a/../b", "transit:a b"])
def test_a_name_that_no_service_has_is_refused(text):
    with pytest.raises(InvalidInput):
        Target.of(text)

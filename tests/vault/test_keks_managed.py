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
from clikit import Program
from keykit import a_vault, box_of, killed_at_every_step, opens
from valetkey.errors import InvalidInput, ManagerRefused, ManagerUnavailable, VaultUnreadable, WrongKey
from valetkey.vault import backup, copying
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


def test_a_token_that_the_server_does_not_take_is_no_wrong_key_and_the_kit_is_named(place, small, monkeypatch):
    rewrap(place, Target.of("transit:valetkey"))
    monkeypatch.setenv("VAULT_TOKEN", "hvs.of-somebody-else")
    with pytest.raises(ManagerRefused, match="kept under Transit key transit/valetkey") as refusal:
        opens(place)
    assert "recovery kit" in refusal.value.fix


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


@pytest.mark.slow
@pytest.mark.parametrize("service", ["transit", "aws-kms"])
def test_a_rewrap_to_a_service_killed_at_any_step_leaves_a_vault_that_opens_with_one_of_the_two_keys(
    place, service, request
):
    target = a_target(service, request)
    key, aside = place.key_path(b""), place.key_path(b"").with_suffix(".aside")

    def opened(version):
        if version == 1:
            assert opens(place)
            return
        key.rename(aside)  # so that it is the service that opens it
        assert opens(place)
        aside.rename(key)

    def back():
        rewrap(place, Target("file"))

    assert killed_at_every_step(place, target, opened=opened, back=back) > 10


# ── copies, backups and kits ─────────────────────────────────────────────────────────────────────────────────────


def a_target(service, request):
    """Make a key at a service, and return what `--to` takes."""
    if service == "transit":
        name = f"valetkey-{uuid.uuid4().hex}"
        request.getfixturevalue("peer").secrets.transit.create_key(name)
        return f"transit:{name}"
    return f"aws-kms:{request.getfixturevalue('kms').create_key()['KeyMetadata']['Arn']}"


@pytest.fixture(params=["transit", "aws-kms"])
def kept(request, place):
    """Give a vault whose key a service keeps, and how that is called; its key file is gone."""
    shown = rewrap(place, Target.of(a_target(request.param, request))).after
    place.key_path(b"").unlink()
    return place, shown


def test_a_vault_whose_key_a_service_keeps_is_backed_up_checked_restored_and_moved(kept, tmp_path):
    place, _shown = kept
    file, moved = tmp_path / "copy.backup", Place.of(tmp_path / "moved.db")
    assert backup.backup(place, file) == backup.check(place).records == backup.verify(file, place)[0].records
    with valetkey.open(place.path, create=False) as vault:
        vault.remove_app("acme")
    assert backup.restore(file, place).key_file is None
    assert opens(place), "the app is back"
    assert copying.copy(place, moved).key_file is None
    assert opens(moved)
    with pytest.raises(VaultUnreadable):
        valetkey.open(place.path, create=False)
    assert [path.name for path in tmp_path.rglob("*.key")] == []


def test_the_kit_of_a_vault_whose_key_a_service_keeps_opens_it_while_that_is_away(kept, tmp_path, monkeypatch):
    place, shown = kept
    vault, key = ("--vault", str(place.path)), str(tmp_path / "kit.key")
    kit = Program()(*vault, "vault", "kit").out
    assert Program()("vault", "recover", "--key-file", key, stdin=kit).code == 0
    for name in ("VAULT_ADDR", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # where nobody listens
    for command in ("kit", "check"):
        away = Program()(*vault, "vault", command, "--json")
        assert away.error["code"] == "manager_unavailable"
        assert f"kept under {shown}" in away.error["message"], "it is said where the key is, and so why there is none"
        assert "--key-file" in away.error["fix"]
    assert Program()(*vault, "--key-file", key, "vault", "check").code == 0
    again = Program()(*vault, "--key-file", key, "vault", "kit").out
    assert again.splitlines()[6:10] == kit.splitlines()[6:10]


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

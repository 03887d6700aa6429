"""A vault under a passphrase, and the way from one key to another: killed at any step, it opens with one of the two."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import valetkey
from keykit import a_vault, box_of, killed_at_every_step, opens
from valetkey.errors import AlreadyExists, InvalidInput, KeyMissing, VaultDamaged, WrongKey
from valetkey.values import Secret
from valetkey.vault import backup, copying
from valetkey.vault.keks import kinds, passphrase
from valetkey.vault.keks.giving import Given, kek_of
from valetkey.vault.keks.rewrap import Target, create, rewrap
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Head, Keyring
from valetkey.vault.places import Place
from vaultkit import an_app

PHRASE = "wooden fox counts nine slow rivers"
PASSPHRASE = Target("passphrase")


def told(text=PHRASE):
    return lambda: Secret(text)


@pytest.fixture
def place(tmp_path):
    return a_vault(tmp_path / "vault.db")


# ── argon2id ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_argon2id_here_gives_the_tag_of_rfc_9106_section_5_3():
    made = Argon2id(
        salt=b"\2" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\4" * 12, secret=b"\3" * 8
    ).derive(b"\1" * 32)
    assert made.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_a_key_is_made_with_the_second_recommended_option_of_rfc_9106():
    kind = kinds.read(passphrase.new_key(Secret(PHRASE)).descriptor)
    assert (kind.memory, kind.iterations, kind.lanes, len(kind.salt)) == (64 * 1024, 3, 4, 16)


def test_a_passphrase_is_the_same_however_a_keyboard_composes_it():
    kind = kinds.PassphraseKind(b"s" * 16)
    one, other = (
        passphrase.derived(Secret("caf\u00e9 au lait"), kind),
        passphrase.derived(Secret("cafe\u0301 au lait"), kind),
    )
    assert one.key_id == other.key_id


@pytest.mark.parametrize(
    "change",
    [{"memory": 65_535}, {"memory": 2**31}, {"iterations": 2}, {"iterations": 65}, {"lanes": 3}, {"lanes": 17}],
)
def test_weakened_and_absurd_parameters_are_refused_before_the_passphrase_is_used(change):
    with pytest.raises(VaultDamaged, match="parameters that valetkey never writes"):
        passphrase.derived(Secret(PHRASE), kinds.PassphraseKind(**{"salt": b"s" * 16, **change}))


@pytest.mark.parametrize("descriptor", [b"", b"{}", b"\xff", b'{"kind":"other"}', b'{"kind":"passphrase","salt":7}'])
def test_a_descriptor_that_is_none_is_called_damaged(descriptor):
    with pytest.raises(VaultDamaged):
        kinds.read(descriptor)


def test_a_short_new_passphrase_is_refused():
    with pytest.raises(InvalidInput, match="fewer than 12"):
        passphrase.new_key(Secret("hunter2"))


# ── where a passphrase comes from ────────────────────────────────────────────────────────────────────────────────


def test_a_passphrase_is_read_from_a_descriptor_without_its_last_line_end():
    read, write = os.pipe()
    os.write(write, f"{PHRASE}\n".encode())
    os.close(write)
    assert passphrase.found({"VALETKEY_PASSPHRASE_FD": str(read)}) == Secret(PHRASE)
    with pytest.raises(KeyMissing, match="holds no passphrase"):
        passphrase.found({"VALETKEY_PASSPHRASE_FD": str(read)})
    os.close(read)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_only_the_end_of_the_line_is_taken_off_a_passphrase(tmp_path, end):
    (tmp_path / "valetkey-passphrase").write_bytes(f"  {PHRASE}\t {end}".encode())
    assert passphrase.found({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == Secret(f"  {PHRASE}\t ")
    (tmp_path / "valetkey-passphrase").write_bytes(f" \t{end}".encode())
    with pytest.raises(KeyMissing, match="holds no passphrase"):
        passphrase.found({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_passphrase_is_read_from_a_systemd_credential(tmp_path):
    assert passphrase.found({"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    (tmp_path / "valetkey-passphrase").write_text(PHRASE)
    assert passphrase.found({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == Secret(PHRASE)


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "99999"])
def test_a_descriptor_that_is_none_is_refused(number):
    with pytest.raises(InvalidInput):
        passphrase.found({"VALETKEY_PASSPHRASE_FD": number})


# ── rewrapping ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_vault_is_put_under_a_passphrase_and_back_under_a_file(place, tmp_path):
    old = place.key_path(b"").read_bytes()
    done = rewrap(place, PASSPHRASE, ask=told())
    assert (done.before, done.after) == (f"key file {tmp_path / 'vault.key'}", "a passphrase")
    assert place.key_path(b"").read_bytes() == old
    assert opens(place, key=Secret(PHRASE))
    back = rewrap(place, Target.of(f"file:{tmp_path / 'new.key'}"), given=Given(ask=told()))
    assert back.after == f"key file {tmp_path / 'new.key'}"
    assert opens(place, key_file=tmp_path / "new.key")
    with pytest.raises(WrongKey):
        opens(place)


def test_a_box_of_a_key_file_is_still_of_version_1_which_older_releases_read(place, tmp_path):
    assert box_of(place)[0] == 1
    rewrap(place, PASSPHRASE, ask=told())
    assert box_of(place)[0] == 2
    rewrap(place, Target("file"), given=Given(ask=told()))
    assert box_of(place)[0] == 1


def test_the_key_that_is_in_use_is_no_new_one(place):
    with pytest.raises(AlreadyExists, match="kept under"):
        rewrap(place, Target("file"))


def test_a_wrong_passphrase_is_told_from_damage_and_changes_nothing(place):
    rewrap(place, PASSPHRASE, ask=told())
    before = place.path.read_bytes()
    with pytest.raises(WrongKey, match="not the passphrase of this vault") as refusal:
        opens(place, key=Secret("wooden fox counts nine slow river"))
    assert refusal.value.code == "wrong_key"
    assert "wooden" not in refusal.value.explain()
    with pytest.raises(KeyMissing) as missing:
        opens(place)
    assert "--passphrase-fd" in missing.value.fix
    assert place.path.read_bytes() == before


def test_any_changed_byte_of_a_described_box_is_refused_and_never_blamed_on_the_passphrase_unless_asked_of_it(place):
    rewrap(place, PASSPHRASE, ask=told())
    box = box_of(place)
    head = Head.of(box)
    start = len(box) - len(head.wrapped)
    key = kek_of(place, box, Given(ask=told()))
    for spot in range(1, len(box)):
        changed = bytearray(box)
        changed[spot] ^= 0x80
        with pytest.raises(VaultDamaged):
            Keyring.unwrapped(bytes(changed), key)
    assert start > 17
    for length in range(len(box)):
        with pytest.raises(VaultDamaged):
            Keyring.unwrapped(box[:length], key)


def test_the_parameters_are_bound_to_what_is_wrapped(place):
    rewrap(place, PASSPHRASE, ask=told())
    box = box_of(place)
    key = kek_of(place, box, Given(ask=told()))
    other = KeyFile(key.reveal(), key.where, key.descriptor.replace(b'"lanes":4', b'"lanes":5'))
    forged = Keyring.unwrapped(box, key).wrapped(other)
    head, forged_head = Head.of(box), Head.of(forged)
    mixed = forged[: len(forged) - len(forged_head.wrapped)] + head.wrapped
    with pytest.raises(VaultDamaged):
        Keyring.unwrapped(mixed, other)


def test_a_key_file_of_the_kit_opens_a_vault_under_a_passphrase(place, tmp_path):
    rewrap(place, PASSPHRASE, ask=told())
    kek_of(place, box_of(place), Given(ask=told()))
    KeyFile(kek_of(place, box_of(place), Given(ask=told())).reveal(), "the kit").save(str(tmp_path / "kit.key"))
    assert opens(place, key_file=tmp_path / "kit.key")
    with pytest.raises(WrongKey, match="kept under a passphrase"):
        opens(place, key_file=tmp_path / "vault.key")


def test_a_new_vault_is_made_under_a_passphrase_and_not_twice(tmp_path):
    place = Place.of(tmp_path / "new.db")
    vault_id = create(place, PASSPHRASE, ask=told())
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".key"] == []
    valetkey.open(place.path, key=Secret(PHRASE), create=False).close()
    assert Keyring.vault_id_of(box_of(place)).hex() == vault_id
    with pytest.raises(AlreadyExists):
        create(place, PASSPHRASE, ask=told())


def test_a_new_vault_is_opened_with_a_passphrase_and_no_key_file_is_made(tmp_path):
    with valetkey.open(tmp_path / "new.db", key=Secret(PHRASE)) as vault:
        vault.add_app(an_app())
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".key"] == []
    place = Place.of(tmp_path / "new.db")
    assert opens(place, key=Secret(PHRASE))
    with pytest.raises(WrongKey):
        opens(place, key=Secret("wooden fox counts ten slow rivers"))


def test_a_passphrase_that_is_refused_leaves_no_empty_vault(tmp_path):
    with pytest.raises(InvalidInput, match="fewer than 12"):
        create(Place.of(tmp_path / "new.db"), PASSPHRASE, ask=told("hunter2"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "file:", "passphrase:hunter2", "sqlite"])
def test_a_place_for_keys_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput):
        Target.of(text)


def test_a_vault_under_a_passphrase_is_backed_up_checked_restored_and_moved(place, tmp_path):
    rewrap(place, PASSPHRASE, ask=told())
    asked = []

    def ask():
        asked.append(1)
        return Secret(PHRASE)

    assert backup.backup(place, tmp_path / "copy.backup") == backup.check(place, key_file=Given(ask=ask)).records
    assert backup.restore(tmp_path / "copy.backup", place, key_file=Given(ask=ask)).key_file is None
    assert len(asked) == 2
    moved = copying.copy(place, Place.of(tmp_path / "moved.db"), key_file=Given(ask=ask))
    assert (moved.key_file, len(asked)) == (None, 3)
    assert opens(Place.of(tmp_path / "moved.db"), key=Secret(PHRASE))


def test_a_backup_of_before_opens_with_the_key_of_before(place, tmp_path):
    backup.backup(place, tmp_path / "old.backup")
    rewrap(place, PASSPHRASE, ask=told())
    assert backup.verify(tmp_path / "old.backup", place)[0].records == 3


# ── killed in between ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("target", ["passphrase", "file"])
def test_a_rewrap_killed_at_any_step_leaves_a_vault_that_opens_with_one_of_the_two_keys(place, target):
    key = place.key_path(b"")

    def to_passphrase():
        rewrap(place, PASSPHRASE, ask=told())
        key.unlink()

    def to_file():
        rewrap(place, Target("file"), given=Given(ask=told()))

    def opened(version):
        assert opens(place) if version == 1 else opens(place, key=Secret(PHRASE))

    if target == "file":
        to_passphrase()
    back = to_passphrase if target == "file" else to_file
    assert killed_at_every_step(place, target, opened=opened, back=back, phrase=PHRASE) > 10

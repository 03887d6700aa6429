"""A vault whose key is in the keychain: one in memory, and the real Secret Service where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import keyring
import pytest
from keyring.backend import KeyringBackend

from keykit import a_vault, opens
from valetkey.errors import InvalidInput, KeyMissing, StoreUnavailable, VaultUnreadable
from valetkey.vault.keks.rewrap import Target, rewrap


class Memory(KeyringBackend):
    """Be a keychain in memory."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.items = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise keyring.errors.KeyringLocked(next(iter(self.items.values()), ""))
        return self.items.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise keyring.errors.KeyringLocked(password)
        self.items[service, username] = password


@pytest.fixture
def keychain(monkeypatch):
    made = Memory()
    monkeypatch.setattr(keyring, "get_keyring", lambda: made)
    return made


@pytest.fixture
def place(tmp_path):
    return a_vault(tmp_path / "vault.db")


def test_a_vault_is_put_under_the_keychain_and_back(place, keychain):
    assert rewrap(place, Target.of("keychain")).after == "the keychain"
    place.key_path(b"").unlink()
    assert opens(place)
    ((service, account),) = keychain.items
    assert service == "valetkey"
    store = place.open(create=False)
    assert account.startswith(store.load("keyring").box[1:9].hex())
    store.close()
    assert rewrap(place, Target.of("file")).before == "the keychain"
    assert len(keychain.items) == 1
    assert opens(place)


def test_another_key_in_the_keychain_leaves_the_old_item_there(place, keychain):
    rewrap(place, Target.of("keychain"))
    rewrap(place, Target.of("keychain"))
    assert len(keychain.items) == 2
    assert opens(place)


def test_an_item_that_is_gone_or_no_key_is_said_so(place, keychain):
    rewrap(place, Target.of("keychain"))
    (item,) = keychain.items
    kept = keychain.items.pop(item)
    with pytest.raises(KeyMissing, match="not in the keychain"):
        opens(place)
    keychain.items[item] = "something of another program"
    with pytest.raises(VaultUnreadable) as refusal:
        opens(place)
    assert "something" not in refusal.value.explain()
    keychain.items[item] = kept
    assert opens(place)


def test_a_locked_keychain_changes_nothing_and_its_words_are_not_repeated(place, keychain):
    keychain.locked = True
    with pytest.raises(StoreUnavailable, match="KeyringLocked") as refusal:
        rewrap(place, Target.of("keychain"))
    assert "valetkey-key-1" not in refusal.value.explain()
    assert refusal.value.__context__ is None
    assert opens(place)


def test_a_machine_without_a_keychain_is_told_what_to_use_instead(place, keychain, monkeypatch):
    monkeypatch.setattr(Memory, "priority", 0)
    with pytest.raises(InvalidInput, match="no keychain") as refusal:
        rewrap(place, Target.of("keychain"))
    assert "passphrase" in refusal.value.fix


# ── the real Secret Service ──────────────────────────────────────────────────────────────────────────────────────

SESSION = """
set -e
printf 'password of the keychain' | gnome-keyring-daemon --unlock --components=secrets >/dev/null
{commands}
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("gnome-keyring-daemon") and shutil.which("dbus-run-session")),
    reason="needs gnome-keyring and dbus, of Debian's packages of these names",
)
def test_the_gnome_keyring_keeps_the_key_over_a_new_session(tmp_path):
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    vault = f"{sys.executable} -m valetkey --vault {tmp_path / 't.db'} vault"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_RUNTIME_DIR": str(runtime)}
    env |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    for commands in (f"{vault} init --key keychain", f"{vault} check", f"{vault} rewrap --to file\n{vault} check"):
        command = ["dbus-run-session", "--", "sh", "-c", SESSION.format(commands=commands)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "t.key").exists() == ("rewrap" in commands)

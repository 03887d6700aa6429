"""The SQLite store where the file matters: other processes, forks, permissions, wrong files, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import sqlite3
import stat
import sys
import threading
from contextlib import closing

import pytest

from valetkey.errors import InvalidInput, StoreUnavailable, VaultMissing, VaultUnreadable
from valetkey.values import Entry
from valetkey.vault.backup import draft_of
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import make_folder
from valetkey.vault.stores import sqlite
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.vault.stores.sqlite_schema import APPLICATION_ID, SCHEMA
from vaultkit import append, lines_of
from vaultprocs import count_up, forked, make_store, together

SOME = Entry("active", b"sealed")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions and fork")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def store(path):
    made = SqliteStore.open(path, create=True)
    yield made
    made.close()


def explained(refusal):
    """Check that an error says what to do, and give it back."""
    assert refusal.value.fix
    return refusal.value


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────


def test_four_processes_count_by_compare_and_set_and_lose_no_update(store, path):
    store.swap("counter", 0, Entry("n", b"0"))
    first = store.load("counter").version
    together(4, count_up, str(path), 25)
    assert store.load("counter").box == b"100"
    assert store.load("counter").version == first + 100


def test_six_processes_that_create_the_file_at_once_end_up_with_one(path):
    assert together(6, make_store, str(path)) == [True] * 6
    store = SqliteStore.open(path, create=False)
    assert store.names("made/", "", 10) == [f"made/{number}" for number in range(6)]
    store.close()


def busy(times):
    """Return a change to WAL that is refused so often, as SQLite refuses it at once where another makes it too."""
    left, real = iter(range(times)), sqlite._prepared

    def prepared(connection, path):
        for _ in left:
            refusal = sqlite3.OperationalError("database is locked")
            refusal.sqlite_errorname = "SQLITE_BUSY"
            raise refusal
        real(connection, path)

    return prepared


def test_a_file_that_another_process_makes_at_the_same_moment_is_waited_for(path, monkeypatch):
    monkeypatch.setattr(sqlite, "_prepared", busy(3))
    store = SqliteStore.open(path, create=True)
    assert store.swap("a", 0, SOME)
    store.close()


def test_a_file_that_another_process_never_lets_go_of_is_given_up(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(sqlite, "_prepared", busy(1_000_000))
    with pytest.raises(StoreUnavailable, match="another process"):
        SqliteStore.open(path, create=True)


def test_what_one_store_wrote_another_reads_at_once(store, path):
    other = SqliteStore.open(path, create=False)
    store.swap("a", 0, SOME)
    assert other.load("a").box == b"sealed"
    other.swap("a", other.load("a").version, Entry("active", b"newer"))
    assert store.load("a").box == b"newer"
    other.close()


def test_what_was_written_is_there_when_the_file_is_opened_again(path):
    first = SqliteStore.open(path, create=True)
    first.swap("a", 0, SOME)
    version = first.load("a").version
    first.close()
    again = SqliteStore.open(path, create=False)
    assert (again.load("a").box, again.load("a").version) == (b"sealed", version)
    again.close()


def test_versions_go_on_from_the_highest_after_the_file_was_opened_again(path):
    first = SqliteStore.open(path, create=True)
    first.swap("a", 0, SOME)
    for _ in range(9):
        first.swap("a", first.load("a").version, SOME)
    highest = first.load("a").version
    first.swap("a", highest, None)
    first.close()
    again = SqliteStore.open(path, create=False)
    again.swap("a", 0, SOME)
    assert again.load("a").version > highest
    again.close()


def test_a_closed_store_can_be_used_again(store):
    store.swap("a", 0, SOME)
    store.close()
    store.close()
    assert store.load("a").box == b"sealed"


@posix
def test_after_a_fork_child_and_parent_both_go_on(store):
    store.swap("a", 0, SOME)
    store.load("a")  # a connection lies idle, and must not be used by the child
    inherited = [pooled[1] for pooled in store._idle]

    def child():
        assert store.load("a").box == b"sealed"
        assert not {id(pooled[1]) for pooled in store._idle} & {id(connection) for connection in inherited}
        assert store.swap("from the child", 0, SOME)
        store.close()

    forked(child)
    assert store.load("from the child").box == b"sealed"
    assert store.swap("from the parent", 0, SOME)
    assert forked(lambda: store.load("from the parent").box) == "b'sealed'"


@posix
def test_a_child_that_only_closes_the_store_leaves_the_parents_connections_alone(store):
    store.swap("a", 0, SOME)
    forked(store.close)
    assert store.swap("b", 0, SOME)
    assert store.names("", "", 10) == ["a", "b"]


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────


@posix
def test_the_file_and_what_lies_beside_it_are_its_owners_alone(path):
    before = os.umask(0)
    try:
        store = SqliteStore.open(path, create=True)
        store.swap("a", 0, SOME)
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert found == {"vault.db": 0o600, "vault.db-wal": 0o600, "vault.db-shm": 0o600}


@posix
def test_folders_that_are_made_for_it_are_its_owners_alone(tmp_path):
    SqliteStore.open(tmp_path / "new" / "vault.db", create=True).close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["a b.db", "a%20b.db", "what?.db", "a#b.db", "vault.db?mode=memory", "ä日🔑.db", "a'b.db"]
)
def test_a_path_may_hold_any_character(tmp_path, name):
    store = SqliteStore.open(tmp_path / name, create=True)
    store.swap("a", 0, SOME)
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_is_not_there_is_not_made_unless_asked(path):
    with pytest.raises(VaultMissing) as refusal:
        SqliteStore.open(path, create=False)
    assert f"`valetkey --vault {shlex.quote(str(path))} app add …` makes one here" in explained(refusal).fix
    assert not path.exists()


def test_an_empty_file_becomes_a_vault(path):
    path.touch(mode=0o600)
    store = SqliteStore.open(path, create=True)
    assert store.swap("a", 0, SOME)
    store.close()


def refused(path):
    """Check that opening is refused and changes nothing; return the error."""
    before = content_of(path)
    with pytest.raises(VaultUnreadable) as refusal:
        SqliteStore.open(path, create=True)
    assert content_of(path) == before
    return explained(refusal)


def content_of(path):
    try:
        return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
    except (OSError, ValueError):
        return None


def test_another_programs_database_is_refused_and_left_as_it_was(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    assert "another program" in str(refused(path))
    assert [file.name for file in path.parent.iterdir()] == ["vault.db"]


def test_a_database_that_another_program_signed_is_refused(path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA application_id = 1196444487")  # GeoPackage
        other.execute("CREATE TABLE gpkg_contents (name TEXT)")
    other.close()
    assert "another program" in str(refused(path))


@pytest.mark.parametrize("content", [b"hi", b"dear diary,\n" * 500, b"\0" * 4096, bytes(range(256)) * 16])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path, content):
    path.write_bytes(content)
    refused(path)


def test_a_damaged_file_is_called_unreadable_and_not_busy(path):
    store = SqliteStore.open(path, create=True)
    for number in range(200):
        store.swap(f"c/{number}", 0, Entry("active", b"x" * 500))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with closing(SqliteStore.open(path, create=False)) as damaged, pytest.raises(VaultUnreadable) as refusal:
        damaged.load("c/1")
    assert "backup" in explained(refusal).fix


def test_a_folder_is_not_a_vault(tmp_path):
    assert "not a file" in str(refused(tmp_path))


@posix
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    assert "not a file" in str(refused(path))


def test_a_path_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    refused(tmp_path / "file" / "vault.db")
    with pytest.raises(VaultMissing):
        SqliteStore.open(tmp_path / "file" / "vault.db", create=False)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["too long", "with a NUL"])
def test_a_path_that_no_file_can_have_is_refused_in_our_words(tmp_path, name):
    refused(tmp_path / name)


def test_a_link_that_leads_to_itself_is_refused(path):
    path.symlink_to(path)
    refused(path)


def test_a_vault_of_a_later_version_is_refused_and_left_as_it_was(path, store):
    store.swap("a", 0, SOME)
    store.close()
    with sqlite3.connect(path) as later:
        later.execute(f"PRAGMA user_version = {sqlite.SCHEMA_VERSION + 1}")
    later.close()
    assert "later valetkey" in str(refused(path))


# ── permissions ──────────────────────────────────────────────────────────────────────────────────────────────────


def as_nobody(work):
    """Do work in a fork; as root, one that has given up being root, because permissions do not bind root."""

    def child():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return forked(child)


@pytest.fixture
def open_to_all(tmp_path_factory):
    """Give a folder that another user can reach."""
    folder = tmp_path_factory.mktemp("shared")
    above = folder
    while above.stat().st_uid == os.getuid() and above.parent != above and above.name != "tmp":
        above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    folder.chmod(0o777)
    return folder


def refused_as(work):
    with pytest.raises(StoreUnavailable) as refusal:
        work()
    return f"{refusal.value.code} {refusal.value.exit_code} {bool(refusal.value.fix)}"


def error_of(work):
    try:
        work()
    except (VaultUnreadable, VaultMissing, StoreUnavailable) as refusal:
        return f"{type(refusal).__name__} {bool(refusal.fix)}"
    return "no error"


@posix
def test_no_vault_is_made_in_a_folder_that_cannot_be_written(open_to_all):
    open_to_all.chmod(0o555)
    assert as_nobody(lambda: error_of(lambda: SqliteStore.open(open_to_all / "v.db", create=True))) == (
        "VaultUnreadable True"
    )
    assert list(open_to_all.iterdir()) == []


@posix
def test_a_folder_that_cannot_be_entered_is_an_error_of_ours(open_to_all):
    (open_to_all / "closed").mkdir(mode=0o700)
    if os.geteuid() != 0:
        (open_to_all / "closed").chmod(0)
    inside = open_to_all / "closed" / "v.db"
    assert as_nobody(lambda: error_of(lambda: SqliteStore.open(inside, create=True))) == "VaultUnreadable True"


@posix
def test_a_vault_that_is_not_ours_to_read_is_an_error_of_ours(open_to_all):
    path = open_to_all / "v.db"
    SqliteStore.open(path, create=True).close()
    if os.geteuid() != 0:
        path.chmod(0)
    assert as_nobody(lambda: error_of(lambda: SqliteStore.open(path, create=True))) == "VaultUnreadable True"


@posix
def test_a_vault_that_cannot_be_written_can_be_read_and_says_so_when_written(open_to_all):
    path = open_to_all / "v.db"
    store = SqliteStore.open(path, create=True)
    store.swap("a", 0, SOME)
    store.close()
    path.chmod(0o444)

    def child():
        mine = SqliteStore.open(path, create=False)
        assert mine.load("a").box == b"sealed"
        return refused_as(lambda: mine.swap("b", 0, SOME))

    # Trying again does not help; yet what a provider just gave is kept as when the store is away.
    assert as_nobody(child) == "vault_unreadable 7 True"


@posix
def test_a_vault_in_a_folder_that_takes_no_files_is_not_to_be_tried_again(open_to_all):
    path = open_to_all / "v.db"
    store = SqliteStore.open(path, create=True)
    store.swap("a", 0, SOME)
    store.close()
    path.chmod(0o444)
    open_to_all.chmod(0o555)

    def child():
        with pytest.raises(VaultUnreadable) as refusal:
            SqliteStore.open(path, create=False).load("a")
        return f"{refusal.value.code} {refusal.value.exit_code} {bool(refusal.value.fix)}"

    assert as_nobody(child) == "vault_unreadable 7 True"


@posix
def test_a_key_file_that_cannot_be_written_is_not_to_be_tried_again(open_to_all):
    open_to_all.chmod(0o555)
    for place in ("v.key", "new/v.key"):
        key = open_to_all / place

        def child(key=key):
            return error_of(lambda: make_folder(key.parent) or KeyFile.create(str(key)))

        assert as_nobody(child) == "VaultUnreadable True"


@posix
@pytest.mark.parametrize("name", ["closed/copy", "nowhere/copy"])
def test_a_copy_is_refused_by_its_name_where_no_file_can_be_made(open_to_all, name):
    (open_to_all / "closed").mkdir(mode=0o555)
    file = open_to_all / name

    def child():
        with pytest.raises(InvalidInput) as refusal, draft_of(file):
            pass
        return str(refusal.value)

    assert as_nobody(child).startswith(f"{file} cannot be written: ")


# ── trouble while running ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_deleted_under_us_is_an_error_and_not_a_write_into_nothing(store, path):
    store.swap("a", 0, SOME)
    path.unlink()
    for work in (lambda: store.load("a"), lambda: store.swap("b", 0, SOME), lambda: store.names("", "", 1)):
        with pytest.raises(StoreUnavailable) as refusal:
            work()
        assert explained(refusal)
    assert not path.exists(), "no empty vault was put in its place"


def test_a_file_restored_from_a_backup_under_us_is_the_one_that_is_used(store, path, tmp_path):
    store.swap("a", 0, SOME)
    store.close()
    shutil.copy(path, tmp_path / "backup")
    store.swap("b", 0, SOME)
    for beside in ("vault.db-wal", "vault.db-shm"):
        path.with_name(beside).unlink()
    (tmp_path / "backup").replace(path)
    assert store.names("", "", 10) == ["a"]
    assert store.swap("c", 0, SOME)
    other = SqliteStore.open(path, create=False)
    assert other.names("", "", 10) == ["a", "c"]
    other.close()


def test_a_file_put_in_the_place_of_ours_that_is_no_vault_is_an_error(store, path, tmp_path):
    store.swap("a", 0, SOME)
    store.close()
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    (tmp_path / "other").replace(path)
    with pytest.raises(StoreUnavailable) as refusal:
        store.load("a")
    assert explained(refusal)


def test_a_database_that_another_holds_locked_is_waited_for_and_then_given_up(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    store = SqliteStore.open(path, create=True)
    store.swap("a", 0, SOME)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as refusal:
        store.swap("b", 0, SOME)
    assert "another process" in str(explained(refusal))
    assert store.load("a").box == b"sealed", "readers do not wait for writers"
    other.execute("ROLLBACK")
    assert store.swap("b", 0, SOME)
    other.close()
    store.close()


def test_a_lock_that_is_let_go_in_time_is_no_error(store, path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = []
    writer = threading.Thread(target=lambda: done.append(store.swap("a", 0, SOME)))
    writer.start()
    assert done == []
    other.execute("COMMIT")
    writer.join()
    other.close()
    assert done == [True]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE") or sys.platform != "linux", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_loses_nothing_and_is_forgotten_when_there_is_room_again(path):
    store = SqliteStore.open(path, create=True)
    store.swap("old", 0, Entry("active", b"old data"))

    def child():
        wal = path.with_name("vault.db-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 100, hard))  # no file may grow by a page
        told = [error_of(lambda: store.swap("new", 0, Entry("active", b"x" * 20_000)))]
        told.append(error_of(lambda: store.swap("old", store.load("old").version, SOME)))
        assert store.load("new") is None
        assert store.load("old").box == b"old data"
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.swap("new", 0, Entry("active", b"new data"))
        return told

    assert forked(child) == str(["StoreUnavailable True"] * 2)
    assert (store.load("old").box, store.load("new").box) == (b"old data", b"new data")
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_a_database_that_may_not_grow_is_called_a_full_disk(store):
    store.swap("old", 0, Entry("active", b"old data"))
    connection = store._idle[0][1]
    connection.execute("PRAGMA max_page_count = 1").fetchone()
    with pytest.raises(StoreUnavailable, match="the disk is full") as refusal:
        store.swap("new", 0, Entry("active", b"x" * 100_000))
    assert "space" in explained(refusal).fix
    connection.execute("PRAGMA max_page_count = 100000").fetchone()
    assert (store.load("old").box, store.load("new")) == (b"old data", None)
    assert store.swap("new", 0, SOME)


def test_a_creation_that_fails_half_way_leaves_no_half_vault(path, monkeypatch):
    monkeypatch.setattr(sqlite, "SCHEMA", (*sqlite.SCHEMA, "CREATE TABLE records (twice TEXT)"))
    with pytest.raises(StoreUnavailable):
        SqliteStore.open(path, create=True)
    monkeypatch.undo()
    store = SqliteStore.open(path, create=True)
    assert store.swap("a", 0, SOME)
    store.close()


def test_no_more_connections_are_kept_than_the_limit(store):
    begin = threading.Barrier(sqlite.IDLE_CONNECTIONS + 8)

    def hold():
        with store._connection() as connection:
            begin.wait()
            connection.execute("SELECT 1")

    threads = [threading.Thread(target=hold) for _ in range(sqlite.IDLE_CONNECTIONS + 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store._idle) == sqlite.IDLE_CONNECTIONS


def test_repr_shows_the_path_and_nothing_else(store, path):
    store.swap("a", 0, SOME)
    assert repr(store) == f"<SqliteStore {path}>"


def test_who_only_looks_makes_no_vault_of_an_empty_file(tmp_path):
    (tmp_path / "vault.db").touch(0o600)
    with pytest.raises(VaultUnreadable, match="is empty"):
        SqliteStore.open(tmp_path / "vault.db", create=False)
    assert (tmp_path / "vault.db").stat().st_size == 0
    SqliteStore.open(tmp_path / "vault.db", create=True).close()
    SqliteStore.open(tmp_path / "vault.db", create=False).close()


def test_a_file_of_another_user_is_no_weather(tmp_path, monkeypatch):
    SqliteStore.open(tmp_path / "vault.db", create=True).close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(VaultUnreadable, match="permission denied") as refused:
        SqliteStore.open(tmp_path / "vault.db", create=False)
    assert refused.value.exit_code == 7


def test_a_vault_from_before_the_chains_is_brought_along_and_its_lines_stay_readable(tmp_path):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for statement in SCHEMA:
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO audit VALUES (1, 0, 'cli:me', 'app.added', 'acme', 'ok', '', '{}')")
    path.chmod(0o600)
    store = SqliteStore.open(path, create=False)
    assert [(line.kind, line.number, line.writer) for line in lines_of(store)] == [("app.added", 0, "")]
    append(store, lines_of(store)[0])
    assert len(lines_of(store)) == 2
    store.close()
    SqliteStore.open(path, create=False).close()

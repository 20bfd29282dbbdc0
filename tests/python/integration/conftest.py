"""One embedded server for the whole test run, one database from a template for each test.

The process that was started (xdist's controller, or the only one) starts the server and builds two
template databases; workers find its address in an environment variable.

    app_template     the sample application, small
    built_template   the same after a complete dbt build
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.command import remove_server
from trueup.core import dbt, statements
from trueup.core.settings import Settings
from trueup.local import sample, server

PROJECT = Path(__file__).resolve().parents[3]
ADDRESS = "TRUEUP_TEST_SERVER"
PARSED = "partial_parse.msgpack"
PROJECT_PARTS = ("dbt_project.yml", "profiles.yml.example", "analyses", "macros", "models", "seeds",
                 "snapshots", "tests/generic", "tests/guard", "tests/verification")  # fmt: skip
SAMPLE: dict[str, Any] = {
    "companies": 3000, "deals": 600, "investments": 300, "strategies": 60, "baselines": 40,
    "funds": 12,
}  # fmt: skip


@dataclass(frozen=True)
class App:
    """A database of a test's own, and the dbt project on it."""

    settings: Settings
    database: str
    environment: dict[str, str]

    def dbt(self, *arguments: str, variables: dict[str, Any] | None = None) -> dbt.Outcome:
        """Run dbt in this process; the outcome holds what failed."""
        settings = replace(self.settings, variables=variables or {})
        return dbt.run(settings, self.environment, *arguments)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, **options)

    def query(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def url(self) -> str:
        return (
            f"postgresql://{self.environment['PGUSER']}:{self.environment['PGPASSWORD']}"
            f"@{self.environment['PGHOST']}:{self.environment['PGPORT']}/{self.database}"
        )

    @property
    def project(self) -> Path:
        return self.settings.project


def pytest_sessionstart(session: pytest.Session) -> None:
    # a shell starts its background jobs with Ctrl-C ignored, and commands under test inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    _remove_leftovers()
    state = PROJECT / ".trueup" / f"tests-{os.getpid()}"
    state.parent.mkdir(exist_ok=True)  # a fresh clone has none
    address = server.start(state, options={"fsync": "off", "full_page_writes": "off"})
    os.environ[ADDRESS] = json.dumps(
        {"state": str(state), "host": address.host, "port": address.port, "user": address.user,
         "password": address.password}
    )  # fmt: skip
    with psycopg.connect(address.conninfo(), autocommit=True) as connection:
        connection.execute("create database app_template")
    with psycopg.connect(address.conninfo("app_template")) as connection:
        sample.load(connection, **SAMPLE)
    with psycopg.connect(address.conninfo(), autocommit=True) as connection:
        connection.execute("create database built_template template app_template")
    app = _app(PROJECT, state / "template", "built_template")
    outcome = app.dbt("build")
    assert not outcome.failures, outcome.failures
    statements.statements(app.settings)  # once; each test's project gets a copy


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or ADDRESS not in os.environ:
        return
    state = Path(json.loads(os.environ.pop(ADDRESS))["state"])
    remove_server(state)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """The sample application before any dbt run, and a copy of the project to change at will."""
    with new_app(tmp_path, "app_template") as fresh:
        yield fresh


@pytest.fixture
def built(tmp_path: Path) -> Iterator[App]:
    """The sample application after a dbt build, and a copy of the project to change at will."""
    with new_app(tmp_path, "built_template") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def shared_built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The same for the read-only tests of a module."""
    with new_app(tmp_path_factory.mktemp("built"), "built_template") as fresh:
        yield fresh


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project with an embedded server of its own, not yet made."""
    folder = copy_project(tmp_path / "project")
    yield folder
    remove_server(folder / ".trueup")


def copy_project(folder: Path) -> Path:
    """The dbt project without anything that was made from it."""
    for part in PROJECT_PARTS:
        source, target = PROJECT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return folder


def copy_made(state: Path) -> None:
    """Spare a project that is as it was copied the work on its files: the compilation of named
    statements, and dbt's parsing (it compares by content, and parses what a test changes anew).
    """
    made = Path(json.loads(os.environ[ADDRESS])["state"]) / "template"
    parts = Path(statements.TARGET) / "compiled" / "trueup" / "analyses"
    shutil.copytree(made / parts, state / parts, copy_function=shutil.copyfile)
    for target in ("target", statements.TARGET):
        (state / target).mkdir(exist_ok=True)
        shutil.copy(made / "target" / PARSED, state / target / PARSED)


@contextmanager
def new_app(folder: Path, template: str, state: str = "state") -> Iterator[App]:
    """A copy of a template database and of the project, with a state folder of that name.

    state: "project/.trueup" is the one that the command takes by itself.
    """
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(name, template)
    project = copy_project(folder / "project")
    for place in {folder / state, project / ".trueup"}:
        copy_made(place)
    app = _app(project, folder / state, name)
    try:
        with _old_transaction(app):
            yield app
    finally:
        drop_database(name)


def template(name: str, base: str, make: Callable[[App], None], folder: Path) -> App:
    """A database to be cloned, made from another one by the first worker that asks for it.

    folder: gets a copy of the project, which the clones of this worker share.
    """
    project = copy_project(folder / "project")
    copy_made(project / ".trueup")
    app = _app(project, project / ".trueup", name)
    lock = Path(json.loads(os.environ[ADDRESS])["state"]) / f"{name}.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not lock.stat().st_size:  # nobody has come to the end of it
            drop_database(name)
            create_database(name, base)
            make(app)
            file.write("made")
    return app


@contextmanager
def cloned(app: App) -> Iterator[App]:
    """A copy of a template's database; the project is the template's."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(name, app.database)
    clone = replace(app, database=name, environment={**app.environment, "PGDATABASE": name})
    try:
        with _old_transaction(clone):
            yield clone
    finally:
        drop_database(name)


@contextmanager
def roles_of_the_server() -> Iterator[None]:
    """Roles belong to the whole server: one test at a time makes those of docs/grants.md."""
    with (Path(json.loads(os.environ[ADDRESS])["state"]) / "roles.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _old_transaction(app: App) -> Iterator[None]:
    """With TRUEUP_OLD_TRANSACTION: a session that began before all others and does nothing.

    What a plan has seen and what was written after it is then told by snapshots, never by ids.
    """
    if not os.environ.get("TRUEUP_OLD_TRANSACTION"):
        yield
        return
    with psycopg.connect(app.url, application_name="old transaction") as idle:
        idle.execute("select pg_current_xact_id()")
        yield
        idle.rollback()


def server_conninfo(dbname: str, user: str = server.SUPERUSER) -> str:
    """For a database of the test run's server."""
    address = json.loads(os.environ[ADDRESS])
    parts = {name: address[name] for name in ("host", "port", "password")}
    return psycopg.conninfo.make_conninfo(**parts, user=user, dbname=dbname)


def create_database(name: str, template: str) -> None:
    _administer(f"create database {name} template {template} owner {server.ROLE}")


def drop_database(name: str) -> None:
    """As the superuser: others may not end an autovacuum worker that is at work in it."""
    _administer(f"drop database if exists {name} with (force)")


def _app(project: Path, state: Path, database: str) -> App:
    address = json.loads(os.environ[ADDRESS])
    environment = {
        "PGHOST": address["host"],
        "PGPORT": str(address["port"]),
        "PGUSER": address["user"],
        "PGPASSWORD": address["password"],
        "PGDATABASE": database,
        "PGSSLMODE": "disable",
    }
    settings = Settings(
        project=project, state=state, environment="development", conninfo="", log_format="text"
    )
    return App(settings, database, environment)


def _administer(statement: str) -> None:
    with psycopg.connect(server_conninfo("trueup"), autocommit=True) as connection:
        connection.execute(statement)


def _remove_leftovers() -> None:
    """Servers of earlier test runs that were killed."""
    for state in (PROJECT / ".trueup").glob("tests-*"):
        pid = int(state.name.partition("-")[2])
        try:
            os.kill(pid, signal.SIG_DFL)
        except ProcessLookupError:
            remove_server(state)

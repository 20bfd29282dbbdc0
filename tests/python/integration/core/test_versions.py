"""The same project on the other supported dbt and on the system's own PostgreSQL."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from integration.conftest import PROJECT, SAMPLE, App, copy_project
from trueup.core.settings import Settings
from trueup.local import sample

OTHER_DBT = PROJECT / "requirements-dbt-1.11.lock"


def missing(what: str) -> None:
    """Skip where a part is not there; in CI, which installs everything, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def other_dbt() -> Path:
    """The folder with dbt 1.11, which goes before the virtual environment's on the path."""
    folder = PROJECT / ".trueup" / "dbt-1.11"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != OTHER_DBT.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*pip, "--target", str(folder), "-r", str(OTHER_DBT)], capture_output=True, text=True
        )
        if done.returncode:
            missing(f"dbt 1.11 could not be installed: {done.stderr.strip()[-300:]}")
        stamp.write_text(OTHER_DBT.read_text())
    return folder


def test_dbt_1_11_builds_everything_twice_with_warnings_as_errors(
    app: App, other_dbt: Path
) -> None:
    shutil.copy(app.project / "profiles.yml.example", app.project / "profiles.yml")
    environment = {**os.environ, **app.environment, "PYTHONPATH": str(other_dbt)}
    code = "import sys; from dbt.cli.main import cli; sys.exit(cli())"
    dbt = [sys.executable, "-c", code, "--no-use-colors"]
    for run in ("full", "incremental"):
        done = subprocess.run(
            [*dbt, "build"], cwd=app.project, env=environment, capture_output=True, text=True
        )
        assert "Running with dbt=1.11." in done.stdout
        assert done.returncode == 0, f"{run}:\n{done.stdout[-3000:]}"
        assert "Completed successfully" in done.stdout
    assert app.query("select count(*) from trueup.fct_portfolio_company_stages") == [(3000,)]


@pytest.fixture(scope="module")
def system_server() -> Iterator[str]:
    """A server of the system's own PostgreSQL binaries on loopback: its connection string."""
    found = shutil.which("pg_config")
    bindir = Path(subprocess.run(
        [found or "true", "--bindir"], capture_output=True, text=True
    ).stdout.strip() or "/nowhere")  # fmt: skip
    if not (bindir / "initdb").exists():
        missing("no PostgreSQL server binaries of the system")
    # PostgreSQL refuses to run as root, and its user must reach the folder
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="trueup-system-"))
    shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        environment = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
        done = subprocess.run(
            [str(bindir / program), "-D", str(folder / "data"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment, cwd=folder, user=user if os.geteuid() == 0 else None,
        )  # fmt: skip
        assert done.returncode == 0, program

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "-N")
        call("pg_ctl", "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_systems_postgresql_builds_the_same_as_an_ordinary_owner(
    system_server: str, tmp_path: Path, shared_built: App
) -> None:
    with psycopg.connect(system_server, autocommit=True) as connection:
        connection.execute("create role owner login")
        connection.execute("create database app owner owner")
        port = connection.info.port
    with psycopg.connect(system_server, user="owner", dbname="app") as connection:
        sample.load(connection, **SAMPLE)
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "owner",
                   "PGPASSWORD": "", "PGDATABASE": "app"}  # fmt: skip
    settings = Settings(
        project=copy_project(tmp_path / "project"),
        state=tmp_path / "state",
        environment="development",
        conninfo="",
        log_format="text",
    )
    app = App(settings, "app", environment)
    assert app.dbt("build").failures == []
    for mart, key in (
        ("fct_portfolio_company_stages", "company_id"),
        ("fct_stage_coverage", "coverage_key"),
        ("fct_stage_allocations", "allocation_key"),
        ("dim_vocabularies", "vocabulary"),
    ):
        digest = (
            f"select count(*), md5(string_agg(m::text, '|' order by {key}::text collate \"C\"))"
        )
        assert app.query(f"{digest} from trueup.{mart} m") == shared_built.query(
            f"{digest} from trueup.{mart} m"
        ), mart

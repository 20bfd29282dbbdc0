"""The same project on the other supported dbt and on the system's own PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from integration.conftest import PROJECT, SAMPLE, App, copy_project
from support import migration
from support.system_server import missing, system_server  # noqa: F401  a fixture
from trueup.core.settings import Settings
from trueup.local import sample
from trueup.local.sample import membership

OTHER_DBT = PROJECT / "requirements-dbt-1.11.lock"


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


@pytest.mark.proofs
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


@pytest.mark.proofs
def test_the_systems_postgresql_builds_the_same_as_an_ordinary_owner(
    system_server: str,  # noqa: F811
    tmp_path: Path,
    shared_built: App,
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
    # the guard, by an owner who is no superuser
    column = "investments.round"
    migration.printed(app, "guard", "install", column, TRUEUP_ENV="staging")
    migration.printed(app, "mode", "set", column, "enforce", "--override", "--reason", "x")
    with pytest.raises(psycopg.errors.CheckViolation):
        app.query("update investments set round = 'Seed Round' where id = 1")
    migration.printed(app, "mode", "set", column, "normalize", "--override", "--reason", "x")
    app.query("update investments set round = 'series-a'")
    app.query("update investments set round = 'Seed'")
    migration.printed(app, "guard", "seal", column, "--override", "--reason", "x")
    migration.printed(app, "guard", "tick")
    assert app.dbt("test", "--select", "guard_drift").failures == []
    # documents to tables, and back
    migration.printed(app, "app-state", "init")
    user = ("--user", "user-0003", "--yes", "--no-export", "x", "--allow-blind-brakes")
    migration.printed(app, "app-state", "apply", *user)
    migration.printed(app, "verify")
    again = "select count(*) from app_state_documents as a inner join user_app_state as u"
    assert app.query(f"{again} on a.user_id = u.user_id and a.state = u.state") == [(1,)]
    query = "select cast(run_id as text) from trueup_ledger.migration_runs where kind = 'app_state'"
    ((run,),) = app.query(query)
    migration.printed(app, "rollback", run, "--yes", "--allow-blind-brakes")
    assert app.query("select count(*) from orgs") == [(0,)]
    # members, and back
    club = tmp_path / "club"
    with migration.connect(app) as connected:
        membership.make_tables(connected, "public", 40)
        membership.write_files(connected, club, 40)
    config = ("--config", str(club / "migration-config.json"), "--yes")
    bundle = str(club / "bundle")
    migration.printed(app, "bundle", "apply", str(club / "csv"), *config, "--bundle-out", bundle)
    migration.printed(app, "bundle", "verify", "-b", bundle, "-o", str(club / "report.md"))
    query = "select cast(run_id as text) from trueup_ledger.migration_runs where kind = 'import'"
    ((run,),) = app.query(query)
    migration.printed(app, "rollback", run, "--yes", "--allow-blind-brakes")
    assert app.query('select count(*) from "Member"') == [(3,)]

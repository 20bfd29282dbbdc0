"""Another dbt project installs this one, names tables of its own and builds.

The project is tests/python/consumer: a CRM with other names, a uuid key, a text key and a composite
one, a table with neither tenant nor time of change, and aliases of its own. docs/package.md shows
its files.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from dbt.cli.main import dbtRunner

from integration.conftest import PROJECT, App

CONSUMER = PROJECT / "tests" / "python" / "consumer"
INCREMENTAL = {
    "fct_organisations": "organisation_uid",
    "fct_offers": "offer_code",
    "fct_stage_coverage": "coverage_key",
    "dim_stages": "stage",
    "dim_vocabularies": "vocabulary",
}


def install(app: App, folder: Path) -> Path:
    """The consumer beside a copy of trueup, as its packages.yml expects it."""
    shutil.copytree(app.project, folder / "trueup")
    consumer = shutil.copytree(CONSUMER, folder / "crm")
    profile = (PROJECT / "profiles.yml.example").read_text()
    profile = profile.replace("trueup:\n", "crm:\n", 1).replace("schema: trueup", "schema: crm_dbt")
    (consumer / "profiles.yml").write_text(profile)
    app.query((consumer / "crm.sql").read_text())
    return consumer


def dbt(*arguments: str) -> None:
    """Run dbt in the working directory; every warning is an error."""
    done = dbtRunner().invoke(["--quiet", "--no-use-colors", "--warn-error", *arguments])
    assert done.success, done


def versions(app: App) -> dict[str, dict[Any, Any]]:
    """Per table and key the version of the row: one that a run writes gets another."""
    return {
        table: dict(app.query(f"select {key}, (xmin, ctid)::text from crm_dbt.{table}"))
        for table, key in INCREMENTAL.items()
    }


def test_a_project_with_tables_of_its_own(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(install(app, tmp_path / "installed"))
    for name, value in app.environment.items():
        monkeypatch.setenv(name, value)
    dbt("deps")
    dbt("build")

    # spellings of trueup's seed, of the consumer's own, with its own noise word, and none
    stages = app.query("""
        select distinct funding_stage_raw, funding_stage, funding_stage_resolution
        from crm_dbt.fct_organisations order by 1
    """)
    assert stages == [
        ("", None, "blank"),
        ("A轮", "series-a", "exact"),
        ("Erste Runde", "seed", "exact"),
        ("SERIES_B Phase", "series-b", "exact"),
        ("Series A", "series-a", "exact"),
        ("seed", "seed", "canonical"),
        (None, None, "null"),
    ]
    assert app.query("""
        select table_name, column_name, vocabulary, row_key, tenant, value_before, value_after
        from crm_dbt_audit.audit_pending_changes where table_name <> 'organisations'
        order by row_key limit 2
    """) == [
        ("board_entries", "phase", "stage", "0,10", None, "Amorçage", "seed"),
        ("board_entries", "phase", "stage", "0,20", None, "Amorçage", "seed"),
    ]
    assert app.query("""
        select table_name, sum(source_rows)::int, sum(mart_rows)::int, count(tenant)
        from crm_dbt_audit.audit_row_counts group by table_name order by table_name
    """) == [("offers", 40, 40, 0), ("organisations", 70, 70, 3)]
    # the sample's own models are not there
    found = app.query("""
        select relname from pg_catalog.pg_class
        where
            relnamespace::regnamespace::text like 'crm_dbt%'
            and (relname like '%app\\_\\_%' or relname ~ '(deal|investment|portfolio)_')
    """)
    assert found == []

    models = ("build", "--exclude", "resource_type:test", "resource_type:unit_test", "tag:ledger")
    before = versions(app)
    dbt(*models)
    assert versions(app) == before

    app.query("""
        update crm.offers set round_name = 'Angel' where offer_code = 'OF-1';
        insert into crm.offers values ('OF-41', 'Series B');
        delete from crm.offers where offer_code = 'OF-2';
    """)
    dbt(*models)
    after = versions(app)
    written = {
        key for key in before["fct_offers"] | after["fct_offers"]
        if before["fct_offers"].get(key) != after["fct_offers"].get(key)
    }  # fmt: skip
    assert written == {"OF-1", "OF-2", "OF-41"}
    assert after["fct_organisations"] == before["fct_organisations"]

"""The project as dbt parses and compiles it, once per test run; no database is asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.postgres import PostgresAdapter
from dbt.cli.main import dbtRunner

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def compiled_first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target folder in which everything is compiled as for the first run on an empty database."""
    return compile_project(tmp_path_factory.mktemp("first"), tables_exist=False)


@pytest.fixture(scope="session")
def compiled_later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as for every later run: is_incremental() is true."""
    return compile_project(tmp_path_factory.mktemp("later"), tables_exist=True)


@pytest.fixture(scope="session")
def manifest(compiled_first: Path) -> dict[str, Any]:
    """dbt's manifest.json, the compiled SQL of every node included."""
    found: dict[str, Any] = json.loads((compiled_first / "manifest.json").read_text())
    return found


def compile_project(
    folder: Path, tables_exist: bool, variables: dict[str, Any] | None = None
) -> Path:
    """Compile the project into a folder and return it.

    tables_exist: what dbt is told when it asks whether a model is built already, the only question
    that compiling has for a database.
    """
    profiles = folder / "profiles"
    profiles.mkdir()
    shutil.copy(PROJECT / "profiles.yml.example", profiles / "profiles.yml")

    def get_relation(adapter: PostgresAdapter, database: str, schema: str, identifier: str) -> Any:
        if not tables_exist:
            return None
        return adapter.Relation.create(
            database=database, schema=schema, identifier=identifier, type="table"
        )

    command = [
        "compile",
        "--no-populate-cache",
        "--project-dir", str(PROJECT),
        "--profiles-dir", str(profiles),
        "--target-path", str(folder),
        "--log-path", str(folder / "logs"),
        "--log-level", "none",
        "--no-print",
    ]  # fmt: skip
    if variables:
        command += ["--vars", json.dumps(variables)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresAdapter, "get_relation", get_relation)
        result = dbtRunner().invoke(command)
    if result.exception:
        raise result.exception
    assert result.success, [entry.message for entry in result.result.results if entry.message]
    return folder

"""The project as dbt parses and compiles it, once per test run; no database is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trueup.core import statements
from trueup.core.settings import Settings

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
    """Compile the project below a folder; returns the target folder."""
    settings = Settings(
        project=PROJECT, state=folder, environment="development", conninfo="", log_format="text"
    )
    return statements.compile_project(settings, "target", tables_exist, variables)

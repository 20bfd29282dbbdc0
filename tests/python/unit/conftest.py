"""The project as dbt compiles it, once per test run; no database is asked."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from trueup.core import statements
from trueup.core.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
ELSEWHERE = {"PGDATABASE": "other_database", "PGHOST": "db.example", "PGUSER": "other_role"}


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What `make compiled` writes: the folders first and later, and dbt's target beside them.

    The first worker makes it and the others find it. The environment names a server, and the folder
    has a file of an earlier call: test_compiled.py looks for traces of both.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "compiled"
    done = folder / "done"
    with folder.with_suffix(".lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for name, value in ELSEWHERE.items():
                patch.setenv(name, value)
            (folder / "later" / "models").mkdir(parents=True)
            (folder / "later" / "models" / "gone.sql").write_text("select 1")
            settings = Settings(PROJECT, folder, "development", "", "text")
            statements.write(settings, folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def manifest(compiled: Path) -> dict[str, Any]:
    """dbt's manifest.json, the compiled SQL of every node included."""
    found: dict[str, Any] = json.loads((compiled / "compiled" / "manifest.json").read_text())
    return found

"""The project as dbt parses and compiles it, once per test run; no database is asked."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trueup.core import statements
from trueup.core.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
PARSED = "partial_parse.msgpack"

# (name, what makes it below a folder and returns a path) → that path; made once for all workers
Shared = Callable[[str, Callable[[Path], Path]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """Folders that the first worker makes and the others find."""
    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent

    def get(name: str, make: Callable[[Path], Path]) -> Path:
        folder, done = common / f"shared-{name}", common / f"shared-{name}.path"
        with (common / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                done.write_text(str(make(folder)))
        return Path(done.read_text())

    return get


@pytest.fixture(scope="session")
def compiled_first(shared: Shared) -> Path:
    """A target folder in which everything is compiled as for the first run on an empty database."""
    return shared("first", lambda folder: compile_project(folder, False))


@pytest.fixture(scope="session")
def compiled_later(shared: Shared, compiled_first: Path) -> Path:
    """The same as for every later run: is_incremental() is true."""

    def make(folder: Path) -> Path:
        copy_parsed(compiled_first, folder / "target")
        return compile_project(folder, True)

    return shared("later", make)


@pytest.fixture(scope="session")
def manifest(compiled_first: Path) -> dict[str, Any]:
    """dbt's manifest.json, the compiled SQL of every node included."""
    found: dict[str, Any] = json.loads((compiled_first / "manifest.json").read_text())
    return found


def copy_parsed(made: Path, target: Path) -> None:
    """Spare a target folder the parsing of files that are as they were."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(made / PARSED, target / PARSED)


def compile_project(
    folder: Path, tables_exist: bool, variables: dict[str, Any] | None = None
) -> Path:
    """Compile the project below a folder; returns the target folder."""
    settings = Settings(
        project=PROJECT, state=folder, environment="development", conninfo="", log_format="text",
        variables=variables or {},
    )  # fmt: skip
    return statements.compile_project(settings, "target", tables_exist)

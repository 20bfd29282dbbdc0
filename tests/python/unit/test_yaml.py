"""dbt checks the YAML of some adapters only, PostgreSQL not among them; so it is checked here."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml
from dbt.contracts.project import ProjectFlags
from dbt.jsonschemas import jsonschemas

from unit.conftest import PROJECT

PROJECT_FILE = PROJECT / "dbt_project.yml"
FOLDERS = ("models", "seeds", "snapshots", "analyses", "macros", "tests/generic",
           "tests/guard", "tests/verification")  # fmt: skip
RESOURCE_FILES = sorted(path for f in FOLDERS for path in (PROJECT / f).rglob("*.yml"))
STRATEGIES = [
    path.stem
    for path in (PROJECT / "macros/materializations").glob("*.sql")
    if f"get_incremental_{path.stem}_sql" in path.read_text()
]
MATERIALIZATIONS = [
    path.stem
    for path in (PROJECT / "macros/materializations").glob("*.sql")
    if f"materialization {path.stem}," in path.read_text()
]


def faults(content: Any, schema: dict[str, Any]) -> list[str]:
    """Where the content differs from the schema that ships with dbt, with the innermost reasons."""
    validator = jsonschemas.CustomDraft7Validator(schema)
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for outermost in validator.iter_errors(content)
        for error in innermost(outermost)
    ]


def innermost(error: Any) -> Iterator[Any]:
    if not error.context:
        yield error
    for inner in error.context or []:
        yield from innermost(inner)


def project() -> Any:
    """dbt_project.yml; the schema knows no strategies and materializations of a project's own."""
    content = yaml.safe_load(PROJECT_FILE.read_text())
    settings = [content["models"]]
    for setting in settings:
        settings += [value for value in setting.values() if isinstance(value, dict)]
        if setting.get("+incremental_strategy") in STRATEGIES:
            setting["+incremental_strategy"] = "merge"
        if setting.get("+materialized") in MATERIALIZATIONS:
            setting["+materialized"] = "table"
    return content


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with one more entry."""
    content = copy.deepcopy(content)
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    assert path[-1] not in inner
    inner[path[-1]] = value
    return content


def test_project_file() -> None:
    assert faults(project(), jsonschemas.project_schema()) == []


def test_resource_files() -> None:
    schema = jsonschemas.resources_schema()
    found = {path.relative_to(PROJECT).as_posix(): faults(yaml.safe_load(path.read_text()), schema)
             for path in RESOURCE_FILES}  # fmt: skip
    assert len(found) > 40
    assert {path: faults for path, faults in found.items() if faults} == {}


def test_project_flags_are_known_to_dbt() -> None:
    known = {field.name for field in dataclasses.fields(ProjectFlags)}
    assert set(project()["flags"]) <= known
    assert "send_anonymous_usage_statistics" not in known


def test_a_typo_is_found() -> None:
    for path in (
        ("model-path",),
        ("seeds", "trueup", "+shcema"),
        ("models", "trueup", "marts", "+materialised"),
        ("models", "trueup", "+persist_doc"),
    ):
        assert faults(changed(project(), path, "x"), jsonschemas.project_schema()), path
    typos: dict[str, tuple[Any, ...]] = {
        "models/intermediate/int_values.yml": ("models", 0, "descripton"),
        "models/intermediate/int_value_counts.yml": ("models", 0, "columns", 0, "from 1."),
        "models/intermediate/int_stage_weights.yml": ("models", 0, "config", "materialised"),
        "seeds/_seeds.yml": ("seeds", 0, "config", "colunm_types"),
        "snapshots/sample/snap_app__investments.yml": ("snapshots", 0, "config", "hard_delete"),
        "models/staging/sample/_sources.yml": ("sources", 0, "tabels"),
        "macros/_macros.yml": ("macros", 0, "argument"),
    }
    for file, path in typos.items():
        content = yaml.safe_load((PROJECT / file).read_text())
        assert faults(changed(content, path, "x"), jsonschemas.resources_schema()), file

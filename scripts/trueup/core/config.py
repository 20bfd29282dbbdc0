"""What dbt_project.yml and the seeds say: managed columns, vocabularies, vars."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

# What every entry of managed_columns must have; the macro managed_columns checks the rest.
NEEDED = ("table", "column", "key", "vocabulary")

# libyaml if the wheel has it: it is ten times faster
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ALIAS_COLUMNS = ["alias_text", "canonical_value", "match_type", "added_by", "added_on", "reason"]


def project(settings: Settings) -> dict[str, Any]:
    """All of dbt_project.yml; TrueupError if it is not YAML or lacks a list that trueup reads."""
    path = settings.project / "dbt_project.yml"
    found = _read_yaml(path)
    variables = found["vars"] if isinstance(found.get("vars"), dict) else {}
    for name, kind in (("managed_columns", list), ("vocabularies", dict)):
        value = variables.get(name)
        entries = list(value.values()) if isinstance(value, dict) else list(value or [])
        if not isinstance(value, kind) or not all(isinstance(each, dict) for each in entries):
            raise TrueupError(
                f"{path}: vars.{name} is {'missing' if value is None else f'{value!r:.60}'}; "
                f"allowed: a {'list' if kind is list else 'mapping'} of entries {{option: value}}",
                "docs/configuration.md explains every entry.",
            )
    return found


def project_variables(settings: Settings) -> dict[str, Any]:
    """The vars of dbt_project.yml; raises what `project` does."""
    variables: dict[str, Any] = project(settings)["vars"]
    return variables


def app_schema(settings: Settings) -> str:
    """The schema of the application's tables, as dbt_project.yml names it."""
    return str(project_variables(settings).get("app_schema", "public"))


def check_managed(settings: Settings) -> None:
    """TrueupError for a managed table, column or mart that the project does not have.

    dbt would only name a missing model, and it notices a missing column when it runs the model.
    """
    variables = project_variables(settings)
    models = settings.project / "models"
    staged = {path.stem for path in (models / "staging").rglob("*.sql")}
    tables = [name.removeprefix("stg_app__") for name in staged if name.startswith("stg_app__")]
    marts = {path.stem for path in (models / "marts").rglob("*.sql")}
    columns = _staging_columns(settings.project)
    for name in ("managed_columns", "managed_documents"):
        for number, entry in enumerate(variables.get(name) or [], start=1):
            if not (set(NEEDED) <= set(entry) and isinstance(entry["key"], dict)):
                continue  # the macro says which options are wrong
            where = f"{name} entry {number} ({entry['table']}.{entry['column']})"
            model = entry.get("model", f"stg_app__{entry['table']}")
            if model not in staged:
                raise _wrong(where, "table", entry["table"], tables)
            named = [entry["column"], entry.get("tenant"), entry.get("updated_at"), *entry["key"]]
            for column in named:
                if column and column not in columns.get(model, [column]):
                    raise _wrong(where, "column", column, columns[model])
            if entry.get("mart") and entry["mart"] not in marts:
                raise _wrong(where, "mart", entry["mart"], marts)


def _staging_columns(project: Path) -> dict[str, list[str]]:
    """The columns of each staging model, as its YAML lists them."""
    return {
        model["name"]: [column["name"] for column in model.get("columns") or []]
        for path in sorted((project / "models" / "staging").rglob("*.yml"))
        for model in _read_yaml(path).get("models") or []
    }


def _wrong(where: str, what: str, found: object, allowed: Iterable[str]) -> TrueupError:
    return TrueupError(
        f"{where}: {what} {str(found)!r} is not allowed; allowed: {', '.join(sorted(allowed))}",
        "Correct dbt_project.yml, or give the table its staging model and its mart.",
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise TrueupError(f"{path}{line}: is not YAML: {reason}", "Correct the file.") from None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary as its two seed files have it: canonical values, their labels, alias rows."""

    name: str
    alias_path: Path
    values: dict[str, str]
    aliases: list[dict[str, str]]


def vocabulary(settings: Settings, name: str) -> Vocabulary:
    """Read a vocabulary's seeds; TrueupError for an unknown name or a damaged file."""
    known = project_variables(settings)["vocabularies"]
    if name not in known:
        raise TrueupError(f"vocabulary {name!r} is unknown; allowed: {', '.join(known)}")
    seeds = settings.project / "seeds"
    for option in ("canonical_seed", "alias_seed"):
        if option not in known[name]:
            raise TrueupError(f"vocabularies.{name}: option {option} is missing in dbt_project.yml")
    alias_path = seeds / f"{known[name]['alias_seed']}.csv"
    values = _read_seed(
        seeds / f"{known[name]['canonical_seed']}.csv", ["canonical_value", "label"]
    )
    return Vocabulary(
        name=name,
        alias_path=alias_path,
        values={row["canonical_value"]: row["label"] for row in values},
        aliases=_read_seed(alias_path, ALIAS_COLUMNS),
    )


def seed_name(settings: Settings, name: str) -> str:
    """The file that decisions on a vocabulary go to, as seen from the project's folder."""
    return vocabulary(settings, name).alias_path.relative_to(settings.project).as_posix()


def _read_seed(path: Path, columns: list[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrueupError(f"{path}: cannot be read: {reason}") from None
    missing = [column for column in columns if column not in (reader.fieldnames or [])]
    if missing:
        raise TrueupError(f"{path}: has no column {', '.join(missing)}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise TrueupError(
                f"{path}: record {number} does not have {len(reader.fieldnames or [])} fields"
            )
    return rows

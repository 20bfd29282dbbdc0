"""The contents of dbt_project.yml and the seeds: managed columns, vocabularies, vars."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

# Required options of every entry of managed_columns; the macro managed_entries checks the rest.
NEEDED = ("table", "column", "key", "vocabulary")
# The vars that the command reads, and what they are.
KINDS = {"sample": bool, "vocabularies": dict, "managed_columns": list, "managed_documents": list,
         "sample_columns": list, "sample_documents": list}  # fmt: skip
ALLOWED = {bool: "true or false", dict: "a mapping of entries {option: value}",
           list: "a list of entries {option: value}"}  # fmt: skip

# libyaml if the wheel has it: it is ten times faster
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

CANONICAL_COLUMNS = ["canonical_value", "label", "sort_rank", "description"]
ALIAS_COLUMNS = ["alias_text", "canonical_value", "match_type", "added_by", "added_on", "reason"]


def project(settings: Settings) -> dict[str, Any]:
    """All of dbt_project.yml; TrueupError if it is not YAML or lacks a var that trueup reads."""
    path = settings.project / "dbt_project.yml"
    found = _read_yaml(path)
    variables = found["vars"] if isinstance(found.get("vars"), dict) else {}
    found["vars"] = variables = {**variables, **settings.variables}
    for name, kind in KINDS.items():
        value = variables.get(name)
        entries: Any = value.values() if isinstance(value, dict) else value
        if not isinstance(value, kind) or (
            kind is not bool and not all(isinstance(each, dict) for each in entries)
        ):
            raise TrueupError(
                f"{path}: vars.{name} is {'missing' if value is None else f'{value!r:.60}'}; "
                f"allowed: {ALLOWED[kind]}",
                "docs/configuration.md explains every entry.",
            )
    return found


def wrong_variable(name: str, found: object, allowed: str) -> TrueupError:
    """The error for a var that is missing or wrong."""
    return TrueupError(
        f"vars.{name} of dbt_project.yml is {found!r:.60}; allowed: {allowed}",
        "docs/configuration.md explains every entry.",
    )


def project_variables(settings: Settings) -> dict[str, Any]:
    """The vars of dbt_project.yml; raises what `project` does."""
    variables: dict[str, Any] = project(settings)["vars"]
    return variables


def app_schema(settings: Settings) -> str:
    """The schema of the application's tables, as dbt_project.yml names it."""
    return str(project_variables(settings).get("app_schema", "public"))


def managed_columns(settings: Settings) -> list[dict[str, Any]]:
    """The entries of managed_columns and, with `sample: true`, those of the sample."""
    return [entry for _, entry in _entries(project_variables(settings), "columns")]


def managed_documents(settings: Settings) -> list[dict[str, Any]]:
    """The same of managed_documents."""
    return [entry for _, entry in _entries(project_variables(settings), "documents")]


def tenant_label(
    entries: Iterable[Mapping[str, Any]], places: Container[tuple[str, str]] | None = None
) -> str:
    """The word for a tenant of these columns, as the macro tenant_label makes it.

    places: (table, column) of the entries that count; all if left out.
    `tenant` if they have no word, or different ones.
    """
    labels = {
        entry.get("tenant_label")
        or str(entry["tenant"]).removesuffix("_id").replace("_", " ").strip()
        for entry in entries
        if entry.get("tenant") and (places is None or (entry["table"], entry["column"]) in places)
    }
    return (labels.pop() if len(labels) == 1 else "") or "tenant"


def with_variables(settings: Settings, **variables: Any) -> Settings:
    """Settings for these vars; those that dbt_project.yml has already are no change for dbt."""
    known = project_variables(settings)
    changed = {name: value for name, value in variables.items() if known.get(name) != value}
    return dataclasses.replace(settings, variables={**settings.variables, **changed})


def check_managed(settings: Settings) -> None:
    """TrueupError for a managed table, column or mart that the project does not have.

    dbt would only name a missing model, and it notices a missing column when it runs the model.
    """
    variables = project_variables(settings)
    staged, marts = (
        {path.stem for path in (settings.project / "models" / layer).rglob("*.sql")
         if variables["sample"] or path.parent.name != "sample"}
        for layer in ("staging", "marts")
    )  # fmt: skip
    tables = [name.removeprefix("stg_app__") for name in staged if name.startswith("stg_app__")]
    columns = _staging_columns(settings.project)
    for place, entry in [*_entries(variables, "columns"), *_entries(variables, "documents")]:
        if not (set(NEEDED) <= set(entry) and isinstance(entry["key"], dict)):
            continue  # the macro says which options are wrong
        where = f"{place} ({entry['table']}.{entry['column']})"
        model = entry.get("model", f"stg_app__{entry['table']}")
        if model not in staged:
            raise _wrong(where, "table", entry["table"], tables)
        named = [entry["column"], entry.get("tenant"), entry.get("updated_at"), *entry["key"]]
        for column in named:
            if column and column not in columns.get(model, [column]):
                raise _wrong(where, "column", column, columns[model])
        if entry.get("mart") and entry["mart"] not in marts:
            raise _wrong(where, "mart", entry["mart"], marts)


def _entries(variables: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The managed columns or documents, each with its var and its position in it."""
    for name in (f"managed_{kind}", *([f"sample_{kind}"] if variables["sample"] else [])):
        for number, entry in enumerate(variables[name], start=1):
            yield f"{name} entry {number}", entry


def _staging_columns(project: Path) -> dict[str, list[str]]:
    """The columns of each staging model, as its YAML lists them."""
    return {
        model["name"]: [column["name"] for column in model.get("columns") or []]
        for path in sorted((project / "models" / "staging").rglob("*.yml"))
        for model in _read_yaml(path).get("models") or []
    }


def _wrong(where: str, what: str, found: object, allowed: Iterable[str]) -> TrueupError:
    known = ", ".join(sorted(allowed)) or "none yet"
    return TrueupError(
        f"{where}: {what} {str(found)!r} is not allowed; allowed: {known}",
        "Correct dbt_project.yml, or give the table its staging model and its mart.",
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = _parsed(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise TrueupError(f"{path}{line}: is not YAML: {reason}", "Correct the file.") from None
    return dict(found) if isinstance(found, dict) else {}


@cache
def _parsed(text: str) -> Any:
    """A command asks for dbt_project.yml some thirty times."""
    return yaml.load(text, Loader=LOADER)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A vocabulary as its two seed files have it: rows by canonical value in order, alias rows."""

    name: str
    alias_path: Path
    values: dict[str, dict[str, str]]
    aliases: list[dict[str, str]]


def vocabulary(settings: Settings, name: str | None = None) -> Vocabulary:
    """Read the seeds of a vocabulary, without a name of the first one.

    Raises TrueupError for an unknown name or a damaged file.
    """
    known = project_variables(settings)["vocabularies"]
    name = next(iter(known), "") if name is None else name
    if name not in known:
        raise TrueupError(f"vocabulary {name!r} is unknown; allowed: {', '.join(known)}")
    seeds = settings.project / "seeds"
    paths = []
    for option in ("canonical_seed", "alias_seed"):
        if option not in known[name]:
            raise TrueupError(f"vocabularies.{name}: option {option} is missing in dbt_project.yml")
        file = f"{known[name][option]}.csv"
        paths.append(next(seeds.rglob(file), seeds / file))
    rows = _read_seed(paths[0], CANONICAL_COLUMNS)
    rows.sort(key=lambda row: (len(row["sort_rank"]), row["sort_rank"]))  # whole numbers
    values = {row["canonical_value"]: row for row in rows}
    return Vocabulary(name, paths[1], values, _read_seed(paths[1], ALIAS_COLUMNS))


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

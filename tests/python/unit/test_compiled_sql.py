"""Compiled SQL reads like hand-written SQL: reviewers are shown it, and the servers run it.

The rules are those of .sqlfluff. They are checked on what dbt compiles with this project's vars,
for the first run and for later ones. For configurations that take the other branches, the same
files are rendered by plain Jinja: it writes what dbt writes, without ten seconds of parsing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

import sqlfluff_library
from support.linted import compiled_faults, source_faults
from support.rendering import render_file
from trueup.core import statements
from unit.conftest import PROJECT

WIDTH = 100
VARS: dict[str, Any] = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
# The data tests of `trueup verify` are the texts of its statements: one of the run as a whole is
# linted, and one of all columns where there is none.
OF_RUN, OF_ALL_COLUMNS = "verification_weight_sums", "verification_models_agree"
# A generic test shows whole rows of a model it does not know.
TESTS_ONLY = {"AM04": "select * of the tested model"}


def other_branches() -> dict[str, Any]:
    """Vars for tables that have neither a tenant nor an updated_at, and keys of two columns; such a
    table has no mart.
    """
    variables = copy.deepcopy(VARS)
    for name in ("sample_columns", "sample_documents"):
        for entry in variables[name]:
            entry.update(tenant=None, updated_at=None)
    variables["sample_documents"][0]["key"] = {"id": "uuid", "fund_id": "integer"}
    first = variables["sample_columns"][0]
    first.update(key={"fund_id": "integer", "id": "uuid"}, mart=None, mart_key=None)
    variables["vocabularies"]["stage"].update(noise_words=[], accept_broader=False)
    return variables


def rendered(variables: dict[str, Any], *patterns: str) -> dict[str, str]:
    """The files of these patterns as dbt would compile them with these vars, by file."""
    return {
        path.relative_to(PROJECT).as_posix(): render_file(path, variables)
        for pattern in patterns
        for path in sorted(PROJECT.glob(pattern))
    }


def written(folder: Path, *patterns: str) -> dict[str, str]:
    """Compiled files of these patterns, by file."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file() and path.parent.suffix != ".yml"  # the generic tests of that file
    }


def untidy(text: str) -> list[str]:
    """What nobody would leave in a file of their own."""
    lines = text.rstrip("\n").split("\n")
    found = [f"{n}: {len(line)} columns" for n, line in enumerate(lines, 1) if len(line) > WIDTH]
    found += [f"{n}: trailing space" for n, line in enumerate(lines, 1) if line != line.rstrip()]
    found += [f"{n}: tab" for n, line in enumerate(lines, 1) if "\t" in line]
    found += [
        f"{n}: blank line too many"
        for n, (one, other) in enumerate(zip(["", *lines], lines, strict=False), 1)
        if not one and not other
    ]
    return found


def first_of_each(text: str) -> str:
    """Of named statements that every managed column has, those of the first: the others differ in
    names only, and linting takes a minute per column. Other configurations are linted apart.
    """
    mark = "-- name: "
    head, *statements = text.split(mark)
    first: dict[str, str] = {}
    for statement in statements:
        name = statement.split("(")[0]
        # purpose__table__column
        first.setdefault(name.split("__")[0] if name.count("__") > 1 else name, statement)
    return head + "".join(mark + each for each in statements if each in first.values())


def findings(texts: dict[str, str]) -> dict[str, list[str]]:
    """What is wrong with compiled files, by file."""
    assert texts
    found = {
        name: [*untidy(text), *compiled_faults(first_of_each(text))] for name, text in texts.items()
    }
    return {name: faults for name, faults in found.items() if faults}


def test_sources_are_clean() -> None:
    """Those that sqlfluff can read: see .sqlfluffignore."""
    ignored = (PROJECT / ".sqlfluffignore").read_text().splitlines()
    paths = [
        path
        for folder in ("models", "analyses", "tests/generic", "macros")
        for path in sorted((PROJECT / folder).rglob("*.sql"))
        if path.relative_to(PROJECT).as_posix() not in ignored
    ]
    assert len(paths) > 100
    found = {str(path.relative_to(PROJECT)): source_faults(path) for path in paths}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_columns_of_one_shape_have_the_same_statements(compiled: Path) -> None:
    """But for names: so sqlfluff looks at those of the first one only."""
    entries = VARS["sample_columns"]
    shapes = {sqlfluff_library._shape(entry) for entry in entries}
    parts = ("table", "column", "mart", "mart_key", "vocabulary", "updated_at", "tenant")
    names = {entry[part] for entry in entries for part in parts if part in entry}
    some = re.compile("|".join(sorted(names, key=len, reverse=True)))
    texts: dict[str, set[str]] = {}
    for path in sorted((compiled / "first/analyses").rglob("*.sql")):
        for name, statement in statements.read(path).items():
            purpose, *place = name.split("__")
            # a column's own; what undoes a run has the columns of the tables it wrote
            if len(place) == 2 and not re.search("undo|undone|image", name):
                sql = " ".join(some.sub("name", statement.sql).split())
                texts.setdefault(purpose, set()).add(sql)
    assert len(texts) > 20
    many = {purpose: len(found) for purpose, found in texts.items() if len(found) > len(shapes)}
    assert many == {}


def test_first_run(compiled: Path) -> None:
    patterns = ("analyses/**/*.sql", "models/**/*.sql", f"tests/verification/{OF_RUN}.sql")
    assert findings(written(compiled / "first", *patterns)) == {}


def test_later_runs(compiled: Path) -> None:
    assert findings(written(compiled / "later", "models/marts/**/*.sql")) == {}


def test_branches_that_other_configurations_take() -> None:
    patterns = ("models/intermediate/*.sql", "models/audit/*s.sql", "models/marts/**/fct_*.sql",
                "analyses/verification.sql")  # fmt: skip
    assert findings(rendered(other_branches(), *patterns)) == {}


def test_nothing_managed_yet() -> None:
    patterns = (
        "models/intermediate/int_v*.sql", "models/audit/*.sql", "analyses/verification.sql",
        f"tests/verification/{OF_ALL_COLUMNS}.sql",
    )  # fmt: skip
    assert findings(rendered({**VARS, "sample": False}, *patterns)) == {}


def test_plain_jinja_writes_what_dbt_writes(compiled: Path) -> None:
    """But for the names of relations, to which dbt adds the schema."""
    patterns = ("models/intermediate/*.sql", "models/audit/*.sql", "models/marts/**/*.sql",
                "analyses/**/*.sql", "tests/verification/*.sql")  # fmt: skip

    def without_schemas(texts: Iterable[str]) -> list[str]:
        return [re.sub(r'\b(?:trueup\w*|public)\.("?)(\w+)\1', r"\2", text) for text in texts]

    expected = written(compiled / "first", *patterns)
    found = rendered(VARS, *patterns)
    assert len(expected) > 40 and found.keys() >= expected.keys()
    texts = [found[name] for name in expected]
    assert without_schemas(texts) == without_schemas(expected.values())


def test_every_model_opens_with_what_it_is_for(compiled: Path) -> None:
    texts = written(compiled / "first", "models/**/*.sql")
    assert len(texts) > 20
    assert [name for name, text in texts.items() if not text.startswith("-- ")] == []


def test_data_tests_of_our_own(manifest: dict[str, Any]) -> None:
    """One instance of each; those with a `where` stand behind a subquery that dbt writes."""
    seen: dict[str, list[str]] = {}
    for node in manifest["nodes"].values():
        if node.get("test_metadata") and node["config"].get("where") is None:
            macro = node["test_metadata"]["name"]
            if macro not in seen and (PROJECT / f"tests/generic/{macro}.sql").exists():
                text = node["compiled_code"].strip("\n")
                seen[macro] = [*untidy(text), *compiled_faults(text, list(TESTS_ONLY))]
    assert seen.keys() == {path.stem for path in (PROJECT / "tests/generic").glob("*.sql")}
    assert {name: faults for name, faults in seen.items() if faults} == {}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SELECT rows.a from rows", "CP01"),
        ("select a from one inner join other on one.id = other.id", "RF02"),
        ("select\n    rows.a\n    , rows.b\nfrom rows", "LT04"),
        ("select\n    rows.a " + "a" * 90 + "\nfrom rows", "LT05"),
        ("select rows.a b from rows", "AL02"),
        ("select rows.a from things rows", "AL01"),
        ("select\n  rows.a,\n    rows.b\nfrom rows", "LT02"),
        ("select rows.a::text as b from rows", "CV11"),
        ("select rows.a from rows union select rows.a from rows", "LT11"),
        ("select )", "PRS"),
    ],
)
def test_a_fault_is_found(text: str, rule: str) -> None:
    assert any(f" {rule} " in finding for finding in compiled_faults(text))


def test_untidy_text_is_found() -> None:
    assert all(untidy(text) for text in ("a" * 101, "a \nb", "a\n\n\nb", "\ta"))

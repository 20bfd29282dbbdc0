"""Compiled SQL reads like hand-written SQL: reviewers are shown it, and the servers run it.

The rules are those of .sqlfluff. They are checked on what dbt compiles, for the first run and for
later ones, with this project's vars and with a configuration that takes the other branches.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import sqlfluff_library
from support.linted import compiled_faults, source_faults
from trueup.core import statements
from unit.conftest import PROJECT, Shared, compile_project

WIDTH = 100
# The data tests of `trueup verify` are the texts of its statements: one of the run as a whole is
# linted, and one of all columns where there is none.
OF_RUN, OF_ALL_COLUMNS = "verification_weight_sums", "verification_models_agree"
# A generic test shows whole rows of a model it does not know.
TESTS_ONLY = {"AM04": "select * of the tested model"}


@pytest.fixture(scope="session")
def other_branches(shared: Shared) -> Path:
    """Compiled for tables that have neither a tenant nor an updated_at, and keys of two columns;
    such a table has no mart.
    """
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    for name in ("sample_columns", "sample_documents"):
        for entry in variables[name]:
            entry.update(tenant=None, updated_at=None)
    variables["sample_documents"][0]["key"] = {"id": "uuid", "fund_id": "integer"}
    first = variables["sample_columns"][0]
    first.update(key={"fund_id": "integer", "id": "uuid"}, mart=None, mart_key=None)
    variables["vocabularies"]["stage"].update(noise_words=[], accept_broader=False)
    return shared("other", lambda folder: compile_project(folder, True, variables))


@pytest.fixture(scope="session")
def nothing_managed(shared: Shared) -> Path:
    """Compiled for a project that manages no column yet."""
    return shared("nothing", lambda folder: compile_project(folder, False, {"sample": False}))


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


def findings(folder: Path, *patterns: str, exclude: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """What is wrong with the compiled files, by file."""
    compiled = folder / "compiled" / "trueup"
    paths = [path for pattern in patterns for path in sorted(compiled.glob(pattern))]
    assert paths, f"{compiled} has no {patterns}"
    found = {}
    for path in paths:
        if path.is_file() and path.parent.suffix != ".yml":
            text = path.read_text()
            faults = compiled_faults(first_of_each(text), exclude)
            found[str(path.relative_to(compiled))] = [*untidy(text), *faults]
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


def test_columns_of_one_shape_have_the_same_statements(compiled_first: Path) -> None:
    """But for names: so sqlfluff looks at those of the first one only."""
    entries = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["sample_columns"]
    shapes = {sqlfluff_library._shape(entry) for entry in entries}
    parts = ("table", "column", "mart", "mart_key", "vocabulary", "updated_at", "tenant")
    names = {entry[part] for entry in entries for part in parts if part in entry}
    some = re.compile(r"rehearsal_[0-9a-f]{12}|" + "|".join(sorted(names, key=len, reverse=True)))
    texts: dict[str, set[str]] = {}
    for path in sorted((compiled_first / "compiled/trueup/analyses").rglob("*.sql")):
        for name, statement in statements.read(path).items():
            purpose, *place = name.split("__")
            if len(place) == 2:  # a column's own
                sql = " ".join(some.sub("name", statement.sql).split())
                texts.setdefault(purpose, set()).add(sql)
    assert len(texts) > 20
    many = {purpose: len(found) for purpose, found in texts.items() if len(found) > len(shapes)}
    assert many == {}


def test_first_run(compiled_first: Path) -> None:
    patterns = ("analyses/**/*.sql", "models/**/*.sql", f"tests/verification/{OF_RUN}.sql")
    assert findings(compiled_first, *patterns) == {}


def test_every_model_opens_with_what_it_is_for(compiled_first: Path) -> None:
    paths = [p for p in (compiled_first / "compiled/trueup/models").rglob("*.sql")
             if p.parent.suffix != ".yml"]  # fmt: skip
    assert len(paths) > 20
    assert [path.name for path in paths if not path.read_text().startswith("-- ")] == []


def test_later_runs(compiled_later: Path) -> None:
    assert findings(compiled_later, "models/marts/**/*.sql") == {}


def test_branches_that_other_configurations_take(other_branches: Path) -> None:
    patterns = ("models/intermediate/*.sql", "models/audit/*s.sql", "models/marts/**/fct_*.sql",
                "analyses/verification.sql")  # fmt: skip
    assert findings(other_branches, *patterns) == {}


def test_nothing_managed_yet(nothing_managed: Path) -> None:
    patterns = ("models/intermediate/*.sql", "models/audit/*.sql", "analyses/verification.sql",
                f"tests/verification/{OF_ALL_COLUMNS}.sql")  # fmt: skip
    assert findings(nothing_managed, *patterns) == {}


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


@pytest.mark.parametrize("text", ["a" * 101, "a \nb", "a\n\n\nb", "\ta"])
def test_untidy_text_is_found(text: str) -> None:
    assert untidy(text)

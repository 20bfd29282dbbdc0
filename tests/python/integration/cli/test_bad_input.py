"""What bad input gets: a message that names the thing, exit code 2 or a failed test with the row.

And nothing half done. The commands run as people run them: in a process of their own, in a copy of
the project.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integration.conftest import App, copy_project
from support import data
from support.command import Done, trueup
from trueup.core.errors import TrueupError
from trueup.local import server

SECRET = "hunter2secret"
CASES: dict[str, Any] = data("bad_input.yml")
MARTS = "select xmin::text, deal_id, stage from trueup.fct_deal_stages order by deal_id"

Plant = Callable[[str, str], None]


def refused(done: Done, *words: str) -> None:
    """Exit code 2, all the words on stderr, nothing else on stdout, no traceback."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.stdout == ""


# ------------------------------------------------------------------------------ managed_columns


@pytest.fixture
def plant(shared_built: App) -> Iterator[Plant]:
    """Puts a mistake into dbt_project.yml, and takes it back."""
    path = shared_built.project / "dbt_project.yml"
    sound = path.read_text()

    def replace(right: str, wrong: str) -> None:
        """In the entry of investments.round, if it has the text."""
        place = ENTRY if right in ENTRY else right
        before, found, after = sound.rpartition(place)
        assert found
        path.write_text(before + place.replace(right, wrong) + after)

    yield replace
    path.write_text(sound)


ENTRY = "- {table: investments,        column: round,         key: {id: bigint}, tenant: fund_id,"


@pytest.mark.parametrize("typo", CASES["typos"])
def test_a_typo_in_the_project_file(shared_built: App, plant: Plant, typo: str) -> None:
    right, wrong, found, allowed = CASES["typos"][typo]
    plant(right, wrong)
    refuses_alias(shared_built, ["Warp", "seed"], found, allowed)
    doctor = trueup(shared_built.project, "doctor", DATABASE_URL=shared_built.url)
    assert "Traceback" not in doctor.stderr
    assert doctor.returncode == 2 or typo == "no seed"  # doctor reads no seed


def test_a_typo_stops_dbt_before_anything_is_built(shared_built: App, plant: Plant) -> None:
    plant("bigint", "bigit")
    before = shared_built.query(MARTS)
    with pytest.raises(TrueupError, match="type of key id 'bigit' is not allowed"):
        shared_built.dbt("build")
    assert shared_built.query(MARTS) == before


def test_a_typo_stops_the_demo(project: Path) -> None:
    path = project / "dbt_project.yml"
    path.write_text(path.read_text().replace("table: investments", "table: investmens"))
    done = trueup(project, "demo", "--companies", "50")
    refused(done, "table 'investmens' is not allowed; allowed: deal_opportunities")
    assert not (project / ".trueup").exists()  # said before a server is started


# ------------------------------------------------------------------------------ seeds


def line(text: str, value: str) -> list[str]:
    return [text, value, "exact", "somebody", "2026-01-01", "made up"]


def test_wrong_lines_of_the_alias_seed_fail_the_tests_that_name_them(built: App) -> None:
    key, value, blank = "key_is_unique", "canonical_value_exists", "alias_text_is_there"
    with seed_of(built.project).open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [line("A–SERISI", "seed"), line("Warp", "series-q"), line("", "seed")]
        )
    before = built.query(MARTS)

    outcome = built.dbt("build", "--select", "stage_aliases+")

    names = {failure.name for failure in outcome.failures}
    assert names == {f"stage_aliases_{test}" for test in (key, value, blank)}
    stored = "trueup_test_failures.stage_aliases"
    assert built.query(f"select text_key, texts from {stored}_{key}") == [
        ("a serisi", "A Serisi | A–SERISI")
    ]
    assert built.query(f"select from_field from {stored}_{value}") == [("series-q",)]
    assert built.query(f"select alias_text, reason from {stored}_{blank}") == [(None, "made up")]
    assert built.query(MARTS) == before  # nothing downstream of the seed was built
    assert outcome.counts["skipped"] > 50


def seed_of(project: Path) -> Path:
    return project / "seeds" / "stage_aliases.csv"


@pytest.mark.parametrize("conflict", CASES["conflicts"])
def test_alias_add_refuses(shared_built: App, conflict: str) -> None:
    refuses_alias(shared_built, *CASES["conflicts"][conflict])


def refuses_alias(app: App, arguments: list[str], *words: str) -> None:
    """`trueup alias add` refuses these arguments, and leaves the seed alone."""
    seed = seed_of(app.project)
    before = seed.read_bytes()
    reason = [] if "--reason" in arguments else ["--reason", "made up"]
    refused(trueup(app.project, "alias", "add", *reason, *arguments, DATABASE_URL=app.url), *words)
    assert seed.read_bytes() == before
    assert [path.name for path in seed.parent.iterdir() if "new" in path.name] == []


# ------------------------------------------------------------------------------ servers


def test_a_server_that_is_not_there(shared_built: App) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url = f"postgresql://someone:{SECRET}@127.0.0.1:{port}/app"
    done = trueup(shared_built.project, "unmapped", DATABASE_URL=url)
    target = f"host 127.0.0.1, port {port}, database app, user someone"
    refused(done, f"cannot connect to {target}: Connection refused", "trueup doctor")
    assert SECRET not in done.stderr
    done = trueup(shared_built.project, "doctor", DATABASE_URL=url)
    assert done.returncode == 2
    assert f"✗ server                       cannot connect to {target}" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_a_wrong_password_and_a_wrong_database(shared_built: App) -> None:
    wrong = shared_built.url.replace(shared_built.environment["PGPASSWORD"], SECRET)
    done = trueup(shared_built.project, "unmapped", DATABASE_URL=wrong)
    refused(done, shared_built.database, 'password authentication failed for user "trueup"')
    assert SECRET not in done.stderr
    done = trueup(shared_built.project, "unmapped", DATABASE_URL=f"{shared_built.url}_x")
    refused(done, f'database "{shared_built.database}_x" does not exist')


def test_a_malformed_url_is_never_printed(shared_built: App) -> None:
    url = f"postgresql://someone:{SECRET}/x@127.0.0.1/app"
    done = trueup(shared_built.project, "doctor", DATABASE_URL=url)
    fault = "an @ or / that is not percent-encoded"
    refused(done, "DATABASE_URL is malformed", fault, "Write postgresql://USER:PASSWORD@HOST")
    assert SECRET not in done.stderr


def test_a_database_without_models(app: App) -> None:
    done = trueup(app.project, "unmapped", DATABASE_URL=app.url)
    assert done.returncode == 2
    assert f"database {app.database} has no trueup models yet" in done.stderr
    assert "dbt build" in done.stderr and "Traceback" not in done.stderr
    assert app.query("select 1 from pg_namespace where nspname like 'trueup%%' limit 1") == [(1,)]


def test_an_occupied_port(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(
            trueup(project, "up", "--port", str(port)),
            f"port {port} on 127.0.0.1 is in use by another program", "--port N",
        )  # fmt: skip
    assert server.running(project / ".trueup") is None
    assert not (server.home(project / ".trueup") / "pgdata").exists()
    assert not (project / "profiles.yml").exists()


@pytest.mark.parametrize(("command", "words", "environ"), CASES["misuse"])
def test_wrong_use(
    shared_built: App, command: str, words: list[str], environ: dict[str, str]
) -> None:
    refused(trueup(shared_built.project, *command.split(), **environ), *words)
    assert not (shared_built.project / ".trueup" / "pgdata").exists()


# ------------------------------------------------------------------------------ files


def written(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_a_file_that_cannot_be_read(project: Path, tmp_path: Path) -> None:
    """It and wrong options are said before a server is started."""
    path = written(tmp_path, "deals.csv", b"Name,Stage,Round\nA,Seed,x\n")
    done = trueup(project, "try", path, "--column", "Stag")
    columns = "has no column 'Stag'; its columns are Name, Stage, Round"
    refused(done, str(tmp_path), columns, "--column 'Stage'?")
    command = ("try", path, "--column", "Stage")
    refused(trueup(project, *command, "--encoding", "klingon"), "'klingon' is unknown", "cp1252")
    refused(trueup(project, *command, "--encoding", "utf-16"), "cannot be read as CSV", "UTF-16")
    missing = ("try", str(tmp_path / "nowhere.csv"), "--column", "Stage")
    refused(trueup(project, *missing), "nowhere.csv: No such file or directory")
    assert not (project / ".trueup").exists()


def test_records_that_cannot_be_read(project: Path, tmp_path: Path) -> None:
    text = "Name,Stage\nÄ,Seed\nB,Série A\nC,Seed\nD,Amorçage\n"
    path = written(tmp_path, "deals.csv", text.encode("latin-1"))
    done = trueup(project, "try", path, "--column", "Stage")
    refused(done, "deals.csv: 2 of 4 records", "records 2, 4", "--encoding cp1252")
    state = project / ".trueup"
    assert server.running(state) is None  # left as it was found
    with psycopg.connect(server.start(state).conninfo()) as connection:
        query = "select datname from pg_database where datname like 'trueup_try%'"
        assert connection.execute(query).fetchall() == []

    # a quotation mark that is never closed swallows no record
    path = written(tmp_path, "open.csv", b'id,Stage\n1,Seed\n2,"Seed\n3,Series A\n4,Series B\n')
    done = trueup(project, "try", path, "--column", "Stage")
    refused(done, "the record that begins on line 3 is no CSV", "A quotation mark is opened")


# ------------------------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of the project whose state folder is a file system of that many megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    folder.chmod(0o755)  # the user that runs PostgreSQL for root must get through
    project = copy_project(folder / "project")
    state = project / ".trueup"
    state.mkdir(mode=0o755)
    options = f"mode=755,size={request.param}m"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        shutil.rmtree(folder)
        pytest.skip("only root can mount a tmpfs, and not in every sandbox")
    try:
        yield project
    finally:
        (state / "filler").unlink(missing_ok=True)  # even stopping needs a little space
        server.stop(state)
        subprocess.run(["umount", str(state)], check=True)
        shutil.rmtree(folder)


@pytest.mark.proofs
@pytest.mark.parametrize("small_disk", [450], indirect=True)
def test_a_disk_that_gets_full_during_a_demo(small_disk: Path) -> None:
    """Either the whole sample is there or nothing of it; the next demo works."""
    state = small_disk / ".trueup"
    assert trueup(small_disk, "up").returncode == 0
    filler = state / "filler"
    with filler.open("wb", buffering=0) as stream:
        while shutil.disk_usage(state).free > 6 * 1024**2:
            stream.write(b"\0" * 1024**2)

    done = trueup(small_disk, "demo", "--companies", "100000")

    assert done.returncode == 2, done
    # whichever hits the end first, a table or the write-ahead log; the log takes the server down
    assert re.search(r"No space left on device|trueup doctor", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    filler.unlink()
    with psycopg.connect(server.start(state).conninfo()) as connection:
        query = "select to_regclass('public.portfoliocompanies'), to_regnamespace('trueup_sample')"
        assert connection.execute(query).fetchone() == (None, None)
    done = trueup(small_disk, "demo", "--companies", "500")
    assert done.returncode == 0, done.stderr

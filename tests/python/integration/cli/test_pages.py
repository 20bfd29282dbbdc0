"""The pages that commands write: their numbers, what happens on failure, and a real browser."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from integration.conftest import App, copy_project
from support.page_reader import check
from trueup.core import config
from trueup.local import server
from trueup.vocabulary import value_page, values

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CELLS = [
    *["Seed"] * 40, *["seed"] * 25, *["Series A"] * 20, *["Series D"] * 5, *["Private Equity"] * 12,
    *["Pre-Series A"] * 6, *["Sereis B"] * 4, *[""] * 3, "<script>alert(1)</script>", "x" * 200_000,
    "two\nlines", "שלום <b>", "\u202eevil", "🚀", '" onload="alert(1)', "W" * 300,
]  # fmt: skip

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project with an embedded server of its own, which runs."""
    folder = copy_project(tmp_path_factory.mktemp("pages") / "project")
    state = folder / ".trueup"
    server.start(state, options={"fsync": "off", "full_page_writes": "off"})
    yield folder
    server.stop(state)
    home = server.home(state)
    shutil.rmtree(state, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def deals(project: Path) -> Path:
    """A small file with values of every kind."""
    path = project / "deals.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["Company", "Stage"], *([f"c{i}", c] for i, c in enumerate(CELLS))]
        )
    return path


@pytest.fixture(scope="module")
def tried(project: Path, deals: Path) -> Done:
    """`trueup try` on it, with a page and the same as JSON."""
    return trueup(
        project, "try", deals.name, "--column", "Stage", "--output", "p.html", "--output", "p.json"
    )


def trueup(project: Path, *arguments: str) -> Done:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
    for name in ("DATABASE_URL", "TRUEUP_ENV", "LOG_FORMAT"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=project, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_the_page_of_try_counts_as_the_json_does(project: Path, tried: Done) -> None:
    assert tried.returncode == 0, tried.stderr
    assert "p.html" in tried.stdout
    report = json.loads((project / "p.json").read_text(encoding="utf-8"))
    text = (project / "p.html").read_text(encoding="utf-8")
    read = check(text)
    summary = report["summary"]
    assert summary["rows"] == len(CELLS)

    after: dict[str, list[int]] = {}
    for value in report["values"]:
        if value["stage"]:
            rows, already, spellings = after.setdefault(value["stage"], [0, 0, 0])
            canonical = value["rows"] if value["resolution"] == "canonical" else 0
            after[value["stage"]] = [rows + value["rows"], already + canonical, spellings + 1]
    shown = {
        row[0]: [int(row[1]), int(row[2]), int(row[4])]
        for row in read.tables["Canonical values"][1:]
    }
    assert shown == after

    flow = read.tables["The flow as a table"][1:]
    assert sum(int(row[2]) for row in flow) == summary["rows"]
    left = {row[0]: int(row[1]) for row in read.tables["What stays"][1:]}
    assert left["unknown"] == summary["unknown"]
    assert left["blank"] == summary["missing"]
    assert left["ambiguous"] + left["out of scope"] == summary["left"]
    queue = read.tables["Values that wait"][1:]
    assert sum(int(row[1]) for row in queue) == summary["unknown"]
    filled = summary["rows"] - summary["missing"]
    resolved = summary["canonical"] + summary["to_change"]
    assert f"{100 * resolved / filled:.1f}\u202f% of filled rows will be canonical" in text


def test_the_page_of_try_is_safe_and_ready_to_use(project: Path, tried: Done) -> None:
    assert tried.returncode == 0, tried.stderr
    text = (project / "p.html").read_text(encoding="utf-8")
    read = check(text)
    assert len(text.encode()) < 100_000
    assert "<script>alert(1)</script>" in read.texts
    assert "200,000 characters" in read.text
    seed = [each for each in read.texts if each.startswith("sereis b,")]
    assert len(next(csv.reader(seed))) == 6  # the columns of the alias seed
    assert "record " in read.text  # rows to look at, in the words of a file
    assert str(project) not in text
    assert json.loads((project / "p.json").read_text())["summary"]["rows"] == len(CELLS)


@pytest.mark.parametrize("name", ["page.pdf", "page", "page.htm", ".html", "page.html.gz"])
def test_an_unknown_ending_stops_before_the_work(project: Path, deals: Path, name: str) -> None:
    done = trueup(project, "try", deals.name, "--column", "Stage", "--output", name)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{name}: the ending decides the format; allowed: .html, .json" in done.stderr
    assert not (project / name).exists()


def test_a_folder_that_is_not_there_stops_before_the_work(project: Path, deals: Path) -> None:
    done = trueup(project, "try", deals.name, "--column", "Stage", "--output", "nowhere/page.html")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "nowhere/page.html cannot be written: there is no folder" in done.stderr


def test_a_failure_leaves_the_old_page(project: Path, deals: Path) -> None:
    old = project / "old.html"
    old.write_text("old")
    before = sorted(project.iterdir())
    done = trueup(
        project, "try", deals.name, "--column", "Stag", "--output", "old.html", "--output", "n.json"
    )
    assert done.returncode == 2
    assert "Stage" in done.stderr  # the columns it has
    assert old.read_text() == "old"
    assert [path for path in sorted(project.iterdir()) if path not in before] in (
        [], [project / "logs"], [project / "target"]
    )  # fmt: skip


def test_the_demo_writes_its_page_and_says_so(project: Path) -> None:
    done = trueup(project, "demo", "--companies", "2000")
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"\.trueup/[\w-]+\.html", done.stdout)
    assert shown == [
        ".trueup/demo.html", ".trueup/demo-verification.html", ".trueup/demo-run.html"
    ]  # fmt: skip
    verified = (project / ".trueup" / "demo-verification.html").read_text(encoding="utf-8")
    assert "What became what" in verified and str(project) not in verified
    of_run = (project / ".trueup" / "demo-run.html").read_text(encoding="utf-8")
    (short,) = re.findall(r"Rollback of run (\w+)", done.stdout)
    assert short in of_run and "<h2>Sign-off" in of_run and str(project) not in of_run
    text = (project / ".trueup" / "demo.html").read_text(encoding="utf-8")
    read = check(text)
    assert len(text.encode()) < 500_000
    rows = {row[0]: int(row[1].replace(",", "")) for row in read.tables["Coverage per column"][1:]}
    assert rows["portfoliocompanies.stage"] == 2000
    assert [name for name in rows if name.endswith(" *")] == [
        "fund_strategy_models.stage_allocation *", "fund_baselines.stage_distribution *"
    ]  # fmt: skip
    password = (project / ".trueup" / "password").read_text().strip()
    assert password not in text
    assert str(project) not in text


def test_tenants_add_up_to_their_column(shared_built: App) -> None:
    """The rows of no tenant are one of them."""
    with shared_built.connect() as connection:
        found = values.everything(connection, config.vocabulary(shared_built.settings))
    assert len(found.vocabulary_version) == 64
    for column in found.coverage:
        tenants = [
            row
            for row in found.tenants
            if (row.table_name, row.column_name) == (column.table_name, column.column_name)
        ]
        for part in ("rows", "canonical", "resolved", "left", "unknown", "missing"):
            assert sum(getattr(row, part) for row in tenants) == getattr(column, part)
        assert len({row.tenant for row in tenants}) == len(tenants)
    assert any(row.tenant is None for row in found.tenants)
    total = sum(value.rows for value in found.values)
    assert total == sum(column.rows for column in found.coverage)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_page_scrolls_sideways(
    project: Path, tried: Done, shared_built: App, tmp_path: Path, width: int
) -> None:
    """In a real browser, everything unfolded; wide tables scroll in boxes of their own."""
    assert tried.returncode == 0, tried.stderr
    with shared_built.connect() as connection:
        found = values.everything(connection, config.vocabulary(shared_built.settings))
    origin = value_page.Origin("Sample", [("server", "x" * 300)], "trueup demo", "", "")
    sample = value_page.build(found, origin, datetime.now(timezone.utc))
    for text in ((project / "p.html").read_text(encoding="utf-8"), sample):
        page_width, window_width, visible = measured(text, width, tmp_path)
        assert page_width <= window_width == width
        assert visible == ("narrow" if width < 720 else "wide")


def measured(text: str, width: int, folder: Path) -> tuple[int, int, str]:
    """A page in a frame of so many pixels: its scrollWidth, innerWidth, and which flow it shows.

    A browser window is never narrower than 500 pixels, a frame is.
    """
    frame = folder / "frame.html"
    frame.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><body>
<iframe style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(text)}"></iframe>
<script>
window.onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach((each) => {{ each.open = true; }});
  const shown = [...page.querySelectorAll("svg.flow")].filter((each) => each.clientWidth > 0);
  document.body.textContent = ["measured", page.documentElement.scrollWidth,
    page.defaultView.innerWidth, ...shown.map((each) => each.classList[1])].join(" ");
}};
</script>""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"measured (\d+) (\d+) (\w+)<", done.stdout)
    assert found, done.stderr[-2000:]
    return int(found[1]), int(found[2]), found[3]

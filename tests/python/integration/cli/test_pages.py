"""The pages that commands write: their numbers, what happens on failure, and a real browser."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from integration.conftest import App
from support.browser import assert_readable, needs_chromium
from support.command import Done, trueup
from support.page_reader import check
from trueup.core import config
from trueup.vocabulary import value_page, values

CELLS = [
    *["Seed"] * 40, *["seed"] * 25, *["Series A"] * 20, *["Series D"] * 5, *["Private Equity"] * 12,
    *["Pre-Series A"] * 6, *["Sereis B"] * 4, *[""] * 3, "<script>alert(1)</script>", "x" * 200_000,
    "two\nlines", "שלום <b>", "\u202eevil", "🚀", '" onload="alert(1)', "W" * 300,
]  # fmt: skip


@pytest.fixture(scope="module")
def deals(running: Path) -> Path:
    """A small file with values of every kind."""
    path = running / "deals.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["Company", "Stage"], *([f"c{i}", c] for i, c in enumerate(CELLS))]
        )
    return path


@pytest.fixture(scope="module")
def tried(running: Path, deals: Path) -> Done:
    """`trueup try` on it, with a page and the same as JSON."""
    return trueup(
        running, "try", deals.name, "--column", "Stage", "--output", "p.html", "--output", "p.json"
    )


def test_the_page_of_try_counts_as_the_json_does(running: Path, tried: Done) -> None:
    assert tried.returncode == 0, tried.stderr
    assert "p.html" in tried.stdout
    report = json.loads((running / "p.json").read_text(encoding="utf-8"))
    text = (running / "p.html").read_text(encoding="utf-8")
    read = check(text)
    summary = report["summary"]
    assert summary["rows"] == len(CELLS)

    after: dict[str, list[int]] = {}
    for value in report["values"]:
        if value["canonical_value"]:
            rows, already, spellings = after.setdefault(value["canonical_value"], [0, 0, 0])
            canonical = value["rows"] if value["resolution"] == "canonical" else 0
            means, rows = value["canonical_value"], rows + value["rows"]
            after[means] = [rows, already + canonical, spellings + 1]
    shown = {
        row[0]: [int(row[1]), int(row[2]), int(row[4])]
        for row in read.tables["Canonical values"][1:]
    }
    assert shown == after

    flow = [row for row in read.tables["Meaning of the stored spellings"] if len(row) == 3]
    assert sum(int(row[1]) for row in flow) == summary["rows"]
    left = {row[0]: int(row[1]) for row in read.tables["Values that stay"][1:]}
    assert left["unknown"] == summary["undecided"]
    assert left["blank"] == summary["missing"]
    assert left["ambiguous"] + left["out of scope"] == summary["known"]
    queue = read.tables["Values that wait"][1:]
    assert sum(int(row[1]) for row in queue) == summary["undecided"]
    filled = summary["rows"] - summary["missing"]
    resolved = summary["canonical"] + summary["to_change"]
    assert f"{100 * resolved / filled:.1f}\u202f% of filled rows will be canonical" in text


def test_the_page_of_try_is_safe_and_ready_to_use(running: Path, tried: Done) -> None:
    assert tried.returncode == 0, tried.stderr
    text = (running / "p.html").read_text(encoding="utf-8")
    read = check(text)
    assert len(text.encode()) < 100_000
    assert "<script>alert(1)</script>" in read.texts
    assert "200,000 characters" in read.text
    seed = [each for each in read.texts if each.startswith("sereis b,")]
    assert len(next(csv.reader(seed))) == 6  # the columns of the alias seed
    assert "record " in read.text  # rows to look at, in the words of a file
    assert str(running) not in text
    assert json.loads((running / "p.json").read_text())["summary"]["rows"] == len(CELLS)


def test_a_page_that_cannot_be_written_stops_before_the_work(running: Path, deals: Path) -> None:
    ending = "the ending decides the format; allowed: .html, .json"
    for name, reason in (
        ("page.pdf", ending), ("page", ending), (".html", ending), ("page.html.gz", ending),
        ("nowhere/page.html", "there is no folder"),
    ):  # fmt: skip
        done = trueup(running, "try", deals.name, "--column", "Stage", "--output", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr and reason in done.stderr
        assert not (running / name).exists()


def test_a_failure_leaves_the_old_page(running: Path, deals: Path) -> None:
    old = running / "old.html"
    old.write_text("old")
    before = sorted(running.iterdir())
    done = trueup(
        running, "try", deals.name, "--column", "Stag", "--output", "old.html", "--output", "n.json"
    )
    assert done.returncode == 2
    assert "Stage" in done.stderr  # the columns it has
    assert old.read_text() == "old"
    assert [path for path in sorted(running.iterdir()) if path not in before] in (
        [], [running / "logs"], [running / "target"]
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(shared_built: App) -> values.Found:
    """What the models found in the sample."""
    settings = shared_built.settings
    with shared_built.connect() as connection:
        return values.everything(connection, settings, config.vocabulary(settings))


def test_tenants_add_up_to_their_column_and_columns_to_the_total(found: values.Found) -> None:
    """The rows of no tenant are one of them."""
    assert len(found.total["vocabulary_version"]) == 64
    wholes = [(found.total, found.columns)]
    for column in found.columns:
        tenants = [row for row in found.tenants if row["place"] == column["place"]]
        wholes.append((column, tenants))
        shares = [row["resolved"] / row["filled"] for row in tenants if row["filled"]]
        assert shares == sorted(shares)
        assert len({row["tenant"] for row in tenants}) == len(tenants)
    for whole, rows in wholes:
        for part in ("rows", "canonical", "resolved", "known", "undecided", "missing", "filled"):
            assert sum(row[part] for row in rows) == whole[part]
    assert any(row["tenant"] is None for row in found.tenants)
    assert sum(value["rows"] for value in found.values) == found.total["rows"]


@needs_chromium
def test_the_pages_are_readable_at_every_width(
    running: Path, tried: Done, found: values.Found, tmp_path: Path
) -> None:
    assert tried.returncode == 0, tried.stderr
    origin = {"name": "Sample", "command": "trueup demo", "all_values": "", "alias_seed": ""}
    built = value_page.build(
        found, datetime.now(timezone.utc), facts=[("server", "x" * 300)], **origin
    )
    assert_readable(built, tmp_path)
    assert_readable((running / "p.html").read_text(encoding="utf-8"), tmp_path)

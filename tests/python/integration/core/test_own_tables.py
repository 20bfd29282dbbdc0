"""A project without the sample: nothing of it is left, and the words are the user's own.

The project manages one table of hotels, with a vocabulary and a word for its tenants of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from integration.conftest import App, new_app
from support import data
from support.command import trueup
from trueup.cli.main import main

# The classic names of the ledger's relations and columns, and ids that the specifications fix.
CLASSIC = re.compile(
    r"(?i:stage_(migration|normalization|validation)_\w+)|stage_(before|after)|normalized_stage|fct_stage_coverage"
    r"|fund_id|--fund-id|per_fund_breakdown|is_cut_by_fund"
)
SAMPLE = re.compile(r"\w*(portfoliocomp|deal_opportunit|fund|stage)\w*", re.IGNORECASE)
HOTELS: dict[str, Any] = data("hotels.yml")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[App]:
    """An empty database, and a copy of the project without the sample."""
    with new_app(tmp_path, "template1", "project/.trueup") as app:
        path = app.project / "dbt_project.yml"
        path.write_text(path.read_text().replace("  sample: true\n", "  sample: false\n"))
        yield app


def add_hotels(app: App) -> None:
    """What a user writes to have a table of their own managed."""
    app.query(HOTELS["table"])
    path = app.project / "dbt_project.yml"
    entries, words = json.dumps([HOTELS["entry"]]), json.dumps(HOTELS["vocabularies"])
    text = path.read_text().replace("managed_columns: []", f"managed_columns: {entries}")
    head, rest = text.split("  vocabularies:\n")
    _, _, rest = rest.partition("\n\n")
    path.write_text(f"{head}  vocabularies: {words}\n\n{rest}")
    for name, content in HOTELS["files"].items():
        file = app.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def strangers(text: str) -> set[str]:
    """Words of the sample in a text, and general words for what the user has named."""
    return {found[0] for found in SAMPLE.finditer(CLASSIC.sub("", text))}


def test_a_project_without_the_sample_has_only_its_own_words(empty: App) -> None:
    app, output = empty, empty.project.parent
    assert app.dbt("build").failures == []
    add_hotels(app)
    assert app.dbt("build").failures == []

    said = {}
    for command in (
        "doctor", "plan --rehearse", "apply --yes", "status", "unmapped",
        f"verify --tenant 3 --tenant none --output {output}/v.html --output {output}/v.md",
        f"verify --verbose --output {output}/v.json",
        f"report --output {output}/r.html --output {output}/r.json",
        "guard install", "guard tick", "guard status", "guard status grade",
        f"compiled {output}/compiled", "docs",
    ):  # fmt: skip
        done = trueup(app.project, *command.split(), DATABASE_URL=app.url)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout + done.stderr
    # its own words
    assert "Found 1 unknown grade(s): palace" in said["plan --rehearse"]
    assert "by chain: 1: " in said["plan --rehearse"] and "no chain: " in said["plan --rehearse"]
    verified = said[f"verify --verbose --output {output}/v.json"]
    assert "Per-Chain Breakdown: 4 chains and rows without a chain, in 1 column" in verified
    assert app.query("""
        select grade, count(*)::int from public.hotels group by grade order by grade
    """) == [("Campsite", 30), ("Four star", 30), ("budget", 30), ("luxury", 60), ("palace", 30),
             (None, 30)]  # fmt: skip

    # and no others
    said |= {path.name: path.read_text() for path in output.iterdir() if path.is_file()}
    said |= {str(path.relative_to(output)): path.read_text()
             for path in (output / "compiled").rglob("*.sql")}  # fmt: skip
    manifest = json.loads((app.project / ".trueup/target/manifest.json").read_text())
    for kind in ("nodes", "sources", "exposures"):
        said |= {name: json.dumps({**node, "raw_code": ""}) for name, node in manifest[kind].items()
                 if node["config"]["enabled"]}  # fmt: skip
    for name, each in main.commands.items():
        for one in (each, *(each.commands.values() if isinstance(each, click.Group) else ())):
            said[f"{name} {one.name} --help"] = one.get_help(click.Context(one))
    found = {name: strangers(f"{name} {text}") for name, text in said.items()}
    assert {name: words for name, words in found.items() if words} == {}

"""What the README shows is what the commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from integration.conftest import PROJECT, copy_project
from trueup.local import server

README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
DATA = PROJECT.parent / "shared" / "data" / "indian_startup_funding.csv"


def trueup(project: Path, *arguments: str) -> str:
    """A command's standard output, trailing spaces removed, on a project of its own."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PG")}
    environment.pop("DATABASE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


@pytest.mark.proofs
def test_the_demo_prints_what_the_readme_says(tmp_path: Path) -> None:
    """Each part of the two blocks, in this order; `...` stands for lines that are left out."""
    project = copy_project(tmp_path)
    try:
        rest = trueup(project, "demo")
    finally:
        server.remove(project / ".trueup")
    assert_in_order(BLOCKS[:2], rest)


@pytest.mark.skipif(not DATA.exists(), reason="the public data set is not beside the checkout")
def test_try_prints_what_the_readme_says(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    output = trueup(project, "try", str(DATA), "--column", "InvestmentType")
    assert_in_order(BLOCKS[2:3], output)


def assert_in_order(blocks: list[str], rest: str) -> None:
    """The parts of the blocks stand in the output one after the other."""
    assert blocks
    for block in blocks:
        for part in block.split("...\n"):
            assert part in rest
            rest = rest.partition(part)[2]

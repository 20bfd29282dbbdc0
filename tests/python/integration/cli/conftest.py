"""One project with a running server of its own, for all commands that find it or start one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conftest import copy_made, copy_project
from support.command import remove_server
from trueup.local import server


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project; tests may leave files and databases there that are in nobody's way."""
    folder = copy_project(tmp_path_factory.mktemp("running") / "project")
    state = folder / ".trueup"
    server.start(state, options={"fsync": "off", "full_page_writes": "off"})
    copy_made(state)
    yield folder
    remove_server(state)

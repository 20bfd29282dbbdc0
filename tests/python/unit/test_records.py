"""JSON as machines get it, whatever stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trueup.core import records
from unit.conftest import PROJECT

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # but for the line feeds of indentation


@pytest.mark.parametrize("indent", [2, None])
def test_controls_are_escaped_and_letters_are_readable(indent: int | None) -> None:
    document = {"Zürich": "".join(map(chr, range(0x20))) + "\x7f\x85\x9b2J\x9fé — 前 \u00a0"}
    text = records.as_json(document, indent=indent)
    assert not CONTROL.search(text) and ("\n" in text) == bool(indent)
    assert "\\u007f\\u0085\\u009b2J\\u009fé — 前 \u00a0" in text and "Zürich" in text
    assert json.loads(text) == document


def test_what_json_does_not_know_is_its_text() -> None:
    assert records.as_json([datetime(2026, 1, 2)], indent=None) == '["2026-01-02 00:00:00"]'


def test_it_is_written_in_one_place() -> None:
    """What is printed would otherwise be escaped here and not there."""
    writers = re.compile(r"echo\(\s*json\.dumps|json\.dumps\(.*indent=")
    files = (PROJECT / "scripts/trueup").rglob("*.py")
    assert [path.name for path in files if writers.search(path.read_text())] == ["records.py"]


@pytest.mark.parametrize("path", sorted((PROJECT / "docs/schemas").iterdir()), ids=lambda p: p.stem)
def test_every_part_of_a_document_is_described(path: Path) -> None:
    def undescribed(schema: Any, place: str = "") -> Iterator[str]:
        if isinstance(schema, dict):
            for name, each in schema.get("properties", {}).items():
                if not each.get("description", "").strip():
                    yield f"{place}.{name}"
                yield from undescribed(each, f"{place}.{name}")
            yield from undescribed(schema.get("items"), f"{place}[]")

    schema = json.loads(path.read_text())
    assert list(undescribed(schema)) == []
    assert list(undescribed({"items": {"properties": {"a": {"description": " "}}}})) == ["[].a"]

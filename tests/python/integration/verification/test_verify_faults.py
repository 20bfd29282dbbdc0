"""Each fault is planted alone: exactly its check is not met any more, and it names the row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support import data
from support.verification import Run

FAULTS: dict[str, dict[str, Any]] = data("check_faults.yml")


@pytest.mark.parametrize("what", FAULTS)
def test_exactly_its_check_is_not_met_and_names_it(deals: Run, what: str) -> None:
    fault = FAULTS[what]
    differs, patterns, options = (fault.get(name, {}) for name in ("differs", "words", "options"))
    before = deals.checks()
    if "before" in fault:
        deals.query(fault["before"])
    key = deals.query(fault["plant"])[0][0]
    assert deals.differs(**options) == differs
    found = deals.checks(**options)
    said = "\n".join(
        text
        for name in differs
        for text in [*found[name].expected, *found[name].found,
                     *(offender["message"] for offender in found[name].sample)]
    )  # fmt: skip
    for words in patterns:
        assert re.search(words.format(key=key), said, re.MULTILINE), said
    firsts = [found[name].sample[0] for name in differs]
    assert [first["status"] for first in firsts] == list(differs.values())
    if any("{key}" in words for words in patterns):
        assert any(str(key) in map(str, first.values()) for first in firsts)
    if not differs and not options:
        found = deals.checks()
        assert [each.sample for each in found.values()] == [each.sample for each in before.values()]

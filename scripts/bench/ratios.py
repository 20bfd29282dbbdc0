"""The ratios of the committed figures, and what has become worse since.

Seconds differ from machine to machine; ratios of two things measured side by side much less.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMITTED = Path(__file__).with_name("ratios.json")
WORSE = 1.10  # times the committed ratio


def judged(found: Mapping[str, float]) -> Iterator[str]:
    """A line per ratio, marked where it is more than a tenth above the committed one.

    found: name → ratio; smaller is better.
    """
    committed = _committed()
    for name, ratio in found.items():
        before = committed.get(name)
        if before is None:
            yield f"  {name}: {ratio:.2f}, nothing committed"
        elif ratio > before * WORSE:
            yield f"WORSE {name}: {ratio:.2f}, committed {before:.2f}"
        else:
            yield f"  {name}: {ratio:.2f}, committed {before:.2f}"


def commit(found: Mapping[str, float]) -> None:
    """These are the figures of docs/performance.md from now on; others stay as they are."""
    rounded = {name: round(ratio, 3) for name, ratio in found.items()}
    merged = dict(sorted({**_committed(), **rounded}.items()))
    COMMITTED.write_text(json.dumps(merged, indent=2) + "\n", "utf-8")


def _committed() -> dict[str, float]:
    return json.loads(COMMITTED.read_text("utf-8")) if COMMITTED.exists() else {}

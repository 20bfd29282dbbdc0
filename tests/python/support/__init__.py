"""What tests of several systems use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

# `make proofs` sets it: the long form of every promise that `make test` tries once
PROOFS = bool(os.environ.get("TRUEUP_PROOFS"))


def data(name: str) -> Any:
    """What a file of tests/python/data says."""
    return yaml.safe_load((Path(__file__).resolve().parents[1] / "data" / name).read_text())

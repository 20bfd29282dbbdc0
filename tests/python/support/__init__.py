"""What tests of several systems use."""

from __future__ import annotations

import os

# `make proofs` sets it: the long form of every promise that `make test` tries once
PROOFS = bool(os.environ.get("TRUEUP_PROOFS"))

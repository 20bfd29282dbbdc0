"""Words that several pages use."""

from __future__ import annotations

# Values without a canonical value: title and explanation by resolution.
LEFT = {
    "broader": ("narrower, not accepted", "falls inside a canonical value; not accepted here"),
    "ambiguous": ("ambiguous", "names a {vocabulary} but not which one"),
    "out_of_scope": ("out of scope", "known, and no {vocabulary} of this list"),
    "unknown": ("unknown", "not decided yet"),
    "blank": ("blank", "only white space or invisible characters"),
    "null": ("NULL", "no value"),
}
KINDS = {"unknown": "unknown", "blank": "missing", "null": "missing"}

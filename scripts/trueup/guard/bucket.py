"""The place of a subject, as the function validation_bucket computes it in SQL."""

from __future__ import annotations

import hashlib


def bucket(flag: str, subject: str) -> int:
    """From 0 to 9999; the subject is inside of p percent if this is below p * 100."""
    digest = hashlib.sha256(f"{flag}:{subject}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10_000

"""The names that the API itself fixes, and the one form that names in objects have."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache

GROUP = "gateway.githedgehog.com"
API_VERSION = f"{GROUP}/v1alpha1"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MOST_KNOWN = 2_000  # difflib compares with every known name: 2,000 cost about 10 ms


@lru_cache(maxsize=65536)
def is_label(name: str) -> bool:
    """True for a DNS label (RFC 1123, section 2.1): 1 to 63 of a-z, 0-9 and ``-``, no ``-`` at either end."""
    return _LABEL.fullmatch(name) is not None


def as_label(name: str) -> str:
    """The nearest DNS label to a name that is none; empty if nothing of it is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that looks most like this one, or None. Of very many known names only the first are asked."""
    few = sorted(known)[:_MOST_KNOWN]
    found = get_close_matches(name[:100], few, n=1)
    return found[0] if found else None

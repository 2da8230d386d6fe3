"""``isthmus map``."""


def map_() -> None:
    """How does the peer see this address, and back?"""
    raise SystemExit("not built yet")

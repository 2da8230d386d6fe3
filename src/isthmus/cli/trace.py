"""``isthmus trace``."""


def trace() -> None:
    """What happens to this packet, and to its reply?"""
    raise SystemExit("not built yet")

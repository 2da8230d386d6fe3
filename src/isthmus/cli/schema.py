"""``isthmus schema``."""


def schema() -> None:
    """The JSON schema of the objects."""
    raise SystemExit("not built yet")

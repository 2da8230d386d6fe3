"""RFC 5382: what is declined, with the reason, and notes on what is met."""

from typing import Final

DECLINED: Final[dict[str, str]] = {}
NOTES: Final[dict[str, str]] = {}

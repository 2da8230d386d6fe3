"""RFC 7857: what is declined, with the reason, and notes on what is met."""

from typing import Final

DECLINED: Final[dict[str, str]] = {}
NOTES: Final[dict[str, str]] = {}

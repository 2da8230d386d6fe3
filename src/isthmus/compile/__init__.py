"""From the resolved configuration to the tables of the packet path: pure, sorted, every entry with its origin.

One module a concern: ``exposure`` (who offers what to whom), ``sides`` (source check and translation),
``pools``, ``rules``, ``routes``, ``intervals``. No I/O and no clock: equal models give equal tables.
"""

from isthmus.compile.tables import compile_tables

__all__ = ["compile_tables"]

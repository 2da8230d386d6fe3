"""Small stable numbers for names: given once, kept while the name is in use, reused after."""

from __future__ import annotations

from collections.abc import Collection, Hashable

from isthmus.datapath.store import TableFull


class Names:
    """Numbers from 0 up to ``capacity``; ``what`` they count stands in the error when all are in use."""

    def __init__(self, what: str, capacity: int) -> None:
        self._what = what
        self._capacity = capacity
        self._numbers: dict[Hashable, int] = {}
        self._names: dict[int, Hashable] = {}
        self._free: list[int] = []

    def __contains__(self, name: Hashable) -> bool:
        return name in self._numbers

    def number(self, name: Hashable) -> int:
        """The number of a name, a new one if it has none yet. Raises ``TableFull``."""
        found = self._numbers.get(name)
        if found is None:
            found = self._free.pop() if self._free else len(self._numbers)
            if found >= self._capacity:
                raise TableFull(self._what, self._capacity)
            self._numbers[name] = found
            self._names[found] = name
        return found

    def name(self, number: int) -> Hashable | None:
        """Whose number it is, or None."""
        return self._names.get(number)

    def items(self) -> list[tuple[Hashable, int]]:
        """All names with their numbers."""
        return list(self._numbers.items())

    def keep(self, names: Collection[Hashable]) -> None:
        """Free the numbers of all other names."""
        for name in [name for name in self._numbers if name not in names]:
            number = self._numbers.pop(name)
            del self._names[number]
            self._free.append(number)

"""How many records there may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Room:
    """Records of flows; or of mappings and of the counts of addresses. ``capacity`` None: no end."""

    capacity: int | None = None
    taken: int = 0

    def take(self) -> bool:
        """One record more; False: there is none."""
        if self.capacity is not None and self.taken >= self.capacity:
            return False
        self.taken += 1
        return True

    def give_back(self, count: int = 1) -> None:
        """Records that are free again."""
        self.taken -= count

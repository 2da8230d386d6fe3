"""What one family is to be told, and what of that has not been told yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from isthmus.routing.bgp.attributes import Attributes

_SLICE: Final = 8192  # prefixes that are grouped at a time


class Outbox:
    """Announced routes by path identifier and prefix key.

    A route that changes again before it was told is told once, as it is then; so what waits for a slow peer is never
    more than the table.
    """

    def __init__(self) -> None:
        """Nothing is to be told."""
        self._routes: dict[int, dict[int, Attributes]] = {}
        self._untold: dict[int, dict[int, None]] = {}

    def __bool__(self) -> bool:
        """True if something has not been told yet."""
        return any(self._untold.values())

    def announce(self, keys: Iterable[int], attributes: Attributes, path_id: int) -> None:
        """From now on these have these attributes."""
        routes = dict.fromkeys(keys, attributes)
        self._routes.setdefault(path_id, {}).update(routes)
        self._untold.setdefault(path_id, {}).update(dict.fromkeys(routes))

    def withdraw(self, keys: Iterable[int], path_id: int) -> None:
        """These are not announced any more; those that never were are passed over."""
        routes = self._routes.get(path_id, {})
        gone = [key for key in keys if routes.pop(key, None) is not None]
        self._untold.setdefault(path_id, {}).update(dict.fromkeys(gone))

    def tell_again(self) -> None:
        """All that is announced has to be told again."""
        for path_id, routes in self._routes.items():
            self._untold.setdefault(path_id, {}).update(dict.fromkeys(routes))

    def start_over(self) -> None:
        """To a peer that knows nothing: all that is announced has to be told, and nothing withdrawn."""
        self._untold = {path_id: dict.fromkeys(routes) for path_id, routes in self._routes.items()}

    def take(self) -> Iterator[tuple[int, Attributes | None, list[int]]]:
        """Some of what has not been told: path identifier, attributes (None: withdrawn), keys. It counts as told."""
        for path_id, untold in self._untold.items():
            if not untold:
                continue
            routes = self._routes.get(path_id, {})
            groups: dict[Attributes | None, list[int]] = {}
            some = list(islice(untold, _SLICE))
            for key in some:
                del untold[key]
                groups.setdefault(routes.get(key), []).append(key)
            for attributes, keys in groups.items():
                yield path_id, attributes, keys
            return

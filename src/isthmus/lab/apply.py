"""A lab that is up goes over to other objects: the keeper's part.

    {"ask": "apply"}
        {"applied": true}

The objects are those that were written down as the next ones (``State``). They may say anything that leaves the wiring
of the lab as it is; what they ask for and can't be leaves all as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, PacketPath
from isthmus.datapath.store import TableFull
from isthmus.lab.plan import LabVpc
from isthmus.lab.service.questions import Kind, WrongQuestion
from isthmus.lab.state import LabError, Objects, State
from isthmus.routing.bird.process import DaemonError
from isthmus.routing.router import Place, Router
from isthmus.routing.speakers import PasswordMissing
from isthmus.tables.entries import Tables


def own_tables(objects: Objects) -> Tables:
    """Without routes that are assumed, where BGP brings real ones."""
    speaks = {name for name, vpc in objects.model.vpcs.items() if vpc.bgp is not None and vpc.bgp.neighbors}
    silent = {name for name, vpc in objects.model.vpcs.items() if vpc.bgp is not None} - speaks
    return compile_tables(objects.model, assume=silent)


def places(objects: Objects) -> dict[str, Place]:
    """Where every VPC of the lab would speak BGP."""
    return {vpc.name: Place(vpc.gateway_namespace, _interfaces(objects, vpc)) for vpc in objects.plan.vpcs}


def drains(objects: Objects) -> bool:
    """True if the objects say that the gateway is to leave."""
    return objects.model.gateway is not None and objects.model.gateway.drain


class Application:
    """The request about one gateway."""

    def __init__(
        self,
        state: State,
        path: PacketPath,
        bindings: Bindings,
        router: Router,
        applied: Callable[[Objects], None],
    ) -> None:
        """``applied`` is told of the objects that count from now on."""
        self._state, self._path, self._bindings = state, path, bindings
        self._router, self._applied = router, applied

    @property
    def kinds(self) -> dict[str, Kind]:
        """What can be asked."""
        return {"apply": self._apply}

    def _apply(self, _: Mapping[str, Any]) -> Iterator[bytes]:
        try:
            objects = self._state.next_objects()
            tables = own_tables(objects)
            self._router.follow(
                tables,
                objects.model.vpcs,
                places(objects),
                drain=drains(objects),
                apply=lambda: self._path.apply(tables, self._bindings),
            )
        except (LabError, DaemonError, PasswordMissing, TableFull, OSError) as error:
            raise WrongQuestion(str(error), "all is as it was") from error
        self._state.write_objects(objects)
        self._applied(objects)
        yield json.dumps({"applied": True}).encode()


def _interfaces(objects: Objects, vpc: LabVpc) -> list[str]:
    """What each attachment of a VPC is called in its namespace."""
    names = {link.attachment: link.inside for link in vpc.links}
    return [names.get(one.key, "") for one in objects.tables.vpcs[vpc.name].attachments]

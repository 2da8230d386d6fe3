"""Who speaks BGP with the gateway in a lab: each neighbour of a VPC, seen from the other side. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import Final, Literal, NamedTuple

from isthmus.lab.externals.routes import Announced
from isthmus.model.types import Bfd, Model, Neighbor, Peering, Vpc
from isthmus.tables.address import BITS, Family, Prefix

Program = Literal["bird", "frr"]
"""The daemons that can play an external."""

_SELF_GIVEN: Final = int(IPv4Address("198.18.0.0"))  # RFC 2544: router IDs of speakers without an IPv4 address


class Speaker(NamedTuple):
    """A neighbour: its own address (left-aligned) and AS, and the gateway's on that link.

    ``attachment``: the place of the attachment in its VPC; None: it is ``multihop`` hops away. ``length`` of the
    network on the link. ``password_file`` is read when the daemon starts.
    """

    family: Family
    address: int
    length: int
    asn: int
    gateway: int
    gateway_asn: int
    attachment: int | None
    multihop: int = 0
    bfd: Bfd | None = None
    password_file: str | None = None


class External(NamedTuple):
    """The daemon of one VPC, which plays all its neighbours, in the namespace of its hosts."""

    vpc: str
    namespace: str
    program: Program
    router_id: str
    speakers: tuple[Speaker, ...]
    routes: tuple[Announced, ...]

    @property
    def told(self) -> tuple[Announced, ...]:
        """The routes that a session carries: each speaker tells those of its own family."""
        families = {speaker.family for speaker in self.speakers}
        return tuple(route for route in self.routes if route.prefix.family in families)


def speakers(vpc: Vpc) -> tuple[Speaker, ...]:
    """The neighbours of a VPC. One toward which the gateway has no address is left out."""
    return tuple(speaker for neighbor in (vpc.bgp.neighbors if vpc.bgp else ()) if (speaker := _speaker(vpc, neighbor)))


def _speaker(vpc: Vpc, neighbor: Neighbor) -> Speaker | None:
    family, address = neighbor.address
    at = neighbor.attachment
    links = vpc.attachments if at is None else vpc.attachments[at : at + 1]
    own = [(a, length) for link in links for kin, a, length in link.addresses if kin == family]
    on_link = [(a, length) for a, length in own if not (a ^ address) >> (128 - length)]
    if not own or vpc.bgp is None:
        return None
    gateway, length = (on_link or own)[0]
    return Speaker(
        family,
        address,
        BITS[family] if at is None else length,
        neighbor.asn,
        gateway,
        vpc.bgp.asn,
        at,
        neighbor.multihop,
        neighbor.bfd,
        neighbor.password_file,
    )


def external(
    model: Model, vpc: str, namespace: str, program: Program, extra: Sequence[Announced] = ()
) -> External | None:
    """The external that a VPC is; None where it has no neighbours.

    It announces what its sides offer and no subnet holds, and ``extra``: of one prefix the last.
    """
    found = speakers(model.vpcs[vpc])
    if not found:
        return None
    offered = (Announced(prefix) for prefix in _offered(model.vpcs[vpc], model.peerings.values()))
    routes = {route.prefix: route for route in (*offered, *extra)}
    four = [speaker.address >> 96 for speaker in found if speaker.family == 4]
    router_id = four[0] if four else _SELF_GIVEN + found[0].asn % 2**16 + 1
    return External(
        vpc,
        namespace,
        program,
        socket.inet_ntoa(router_id.to_bytes(4, "big")),
        found,
        tuple(routes[prefix] for prefix in sorted(routes)),
    )


def _offered(vpc: Vpc, peerings: Iterable[Peering]) -> Iterator[Prefix]:
    for peering in peerings:
        for side in peering.sides:
            for item in side.ips if side.vpc == vpc.name else ():
                if not any(subnet.prefix.covers(item.prefix) for subnet in vpc.subnets):
                    yield item.prefix

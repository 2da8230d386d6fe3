"""What the bench configures and sends: 142 VPCs that use the same addresses, each peered with each, static NAT on
every side.

All VPCs have ``PRIVATE`` inside, and VPC number n is seen as the n-th /20 of ``PUBLIC``. Host k of either is host k of
the other. Peerings come in the order (1, 2), (1, 3), ... (2, 3), ..., so the first VPC has as many peers as a
truncated set allows, and it is the one that sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations, islice
from typing import Final, NamedTuple

VPCS: Final = 142
PEERINGS: Final = VPCS * (VPCS - 1) // 2
DESTINATIONS: Final = 4000
SENDER: Final = 1

PRIVATE: Final = IPv4Network("10.1.0.0/20")
PUBLIC: Final = IPv4Network("100.64.0.0/10")
GATEWAY: Final = IPv4Address("192.0.2.1")  # the gateway's own address on every attachment
NEXT_HOP: Final = IPv4Address("192.0.2.2")  # and the router of every VPC behind it
LINK: Final = 30  # prefix length of that link

_SOURCES: Final = 16

_VPC: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {{name: {name}}}
spec:
  attachments:
    - interface: {interface}
      addresses: [{gateway}/{link}]
  routes:
    - {{to: {private}, via: {next_hop}}}
"""
_PEERING: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {{name: {a}--{b}}}
spec:
  {a}:
    ips: [{{cidr: {private}}}]
    as: [{public_a}]
  {b}:
    ips: [{{cidr: {private}}}]
    as: [{public_b}]
"""


class Conversation(NamedTuple):
    """Addresses of one packet as it is sent: from a host of the sender, to what it dials."""

    source: IPv4Address
    dialled: IPv4Address


def vpc_name(number: int) -> str:
    """Name of the VPC with that number, from 1."""
    return f"vpc-{number}"


def interface_name(number: int) -> str:
    """Name of the port that the VPC's attachment says, to be bound to a real interface."""
    return f"port-{number}"


def public_network(number: int) -> IPv4Network:
    """What the peers of that VPC see in the place of ``PRIVATE``."""
    return IPv4Network((int(PUBLIC.network_address) + (number << 32 - PRIVATE.prefixlen), PRIVATE.prefixlen))


def pairs(peerings: int) -> list[tuple[int, int]]:
    """The first ``peerings`` pairs of VPC numbers. Raises ``ValueError`` outside 1 to ``PEERINGS``."""
    if not 1 <= peerings <= PEERINGS:
        raise ValueError(f"{VPCS} VPCs make 1 to {PEERINGS} peerings, not {peerings}")
    return list(islice(combinations(range(1, VPCS + 1), 2), peerings))


def peers_of_sender(peerings: int) -> list[int]:
    """Numbers of the VPCs that the sender can reach with so many peerings loaded."""
    return [second for first, second in pairs(peerings) if first == SENDER]


def objects(peerings: int) -> str:
    """The objects as YAML: the VPCs that the first ``peerings`` peerings name, and these peerings."""
    return "".join(_documents(pairs(peerings)))


def _documents(chosen: list[tuple[int, int]]) -> Iterator[str]:
    for number in sorted({number for pair in chosen for number in pair}):
        yield _VPC.format(
            name=vpc_name(number),
            interface=interface_name(number),
            gateway=GATEWAY,
            link=LINK,
            private=PRIVATE,
            next_hop=NEXT_HOP,
        )
    for a, b in chosen:
        yield _PEERING.format(
            a=vpc_name(a), b=vpc_name(b), private=PRIVATE, public_a=public_network(a), public_b=public_network(b)
        )


def conversations(peerings: int, count: int = DESTINATIONS) -> list[Conversation]:
    """``count`` different destinations, spread over all peers of the sender and over the hosts of each.

    Raises ``ValueError`` where the peers have fewer hosts than that."""
    peers = peers_of_sender(peerings)
    each = -(-count // len(peers))
    stride = (PRIVATE.num_addresses - 2) // each
    if not stride:
        raise ValueError(f"{len(peers)} peers of {PRIVATE.num_addresses - 2} hosts have not {count} destinations")
    return [
        Conversation(
            source=PRIVATE[1 + number % _SOURCES],
            dialled=public_network(peers[number % len(peers)])[1 + number // len(peers) * stride],
        )
        for number in range(count)
    ]

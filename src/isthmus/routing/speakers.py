"""From what a VPC's object says of BGP to what its daemon is told."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from isthmus.model.types import Bgp, Neighbor, Vpc
from isthmus.routing.bird import speaker as bird
from isthmus.tables.address import Family, format_address
from isthmus.tables.martians import LINK_LOCAL


class PasswordMissing(Exception):
    """A neighbour's password can't be read; the message says which file, and never what is in one."""


def speaker(vpc: Vpc, bgp: Bgp, interface: Callable[[int], str]) -> bird.Speaker:
    """What the daemon of a VPC is to be. ``interface``: the name that an attachment (its index) has in the VPC's
    namespace. ``PasswordMissing`` where a password file can't be read."""
    neighbors = tuple(_neighbor(vpc, neighbor, interface) for neighbor in bgp.neighbors)
    return bird.Speaker(bgp.asn, IPv4Address(bgp.router_id), neighbors)


def _neighbor(vpc: Vpc, neighbor: Neighbor, interface: Callable[[int], str]) -> bird.Neighbor:
    family, address = neighbor.address
    local = _local(vpc, neighbor, family)
    on_link = neighbor.attachment is not None and address in LINK_LOCAL[family]
    return bird.Neighbor(
        address=_ip(family, address),
        asn=neighbor.asn,
        local=local,
        interface=interface(neighbor.attachment) if on_link and neighbor.attachment is not None else None,
        password=None if neighbor.password_file is None else _password(neighbor.password_file),
        bfd=False if neighbor.bfd is None else bird.Bfd(neighbor.bfd.interval, neighbor.bfd.multiplier),
        multihop=neighbor.multihop,
        max_prefixes=neighbor.max_prefixes,
        graceful_restart=neighbor.graceful_restart,
    )


def _local(vpc: Vpc, neighbor: Neighbor, family: Family) -> bird.IpAddress | None:
    """Our address toward a neighbour: on its link, or, several hops away, the first that there is."""
    places = vpc.attachments if neighbor.attachment is None else (vpc.attachments[neighbor.attachment],)
    mine = [(address, length) for place in places for kin, address, length in place.addresses if kin == family]
    wanted = neighbor.address[1]
    near = [address for address, length in mine if (address ^ wanted) >> (128 - length) == 0]
    found = next(iter([*near, *(address for address, _ in mine)]), None)
    return None if found is None else _ip(family, found)


def _ip(family: Family, address: int) -> bird.IpAddress:
    return ip_address(format_address(family, address))


def _password(path: str) -> str:
    try:
        return Path(path).read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise PasswordMissing(f"the password in {path} can't be read: {reason}") from error

"""Names of a lab, its namespaces and its interfaces; and the MAC addresses, which are names too."""

from __future__ import annotations

import hashlib
import re

NAMESPACE_LIMIT = 63
"""Longest namespace name, in characters: longer ones are cut and end in a hash, so that a listing stays readable."""

LAB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
"""A lab's name: at most 40 characters of a DNS label. Without dots, ``N.gw`` is no host namespace of another lab."""

_HASH_DIGITS = 8


def shortened(name: str) -> str:
    """The name itself, or if it is longer than a namespace's may be, its beginning and a hash of the whole."""
    if len(name) <= NAMESPACE_LIMIT:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    return f"{name[: NAMESPACE_LIMIT - _HASH_DIGITS - 1]}-{digest}"


def gateway_namespace(lab: str) -> str:
    """Where the gateway's ports and its packet path are."""
    return shortened(f"{lab}.gw")


def vpc_namespace(lab: str, vpc: str) -> str:
    """Where the gateway's own kernel answers one VPC: ARP, neighbour discovery, ping."""
    return shortened(f"{lab}.gw.{vpc}")


def host_namespace(lab: str, vpc: str) -> str:
    """Where the hosts of one VPC are."""
    return shortened(f"{lab}-{vpc}")


def fabric_namespace(lab: str) -> str:
    """Where the switches would be: between tagged ports of the gateway and hosts."""
    return shortened(f"{lab}.fabric")


HOST, PORT, KERNEL, WIRE = 1, 2, 3, 4
"""Whose MAC address it is: a host's, a port's of the gateway, the gateway's end of the veth to a VPC's namespace, or
the other end of a port's wire."""


def mac(kind: int, link: int) -> str:
    """The MAC address at one end of a lab's link number ``link``: locally administered, distinct within the lab."""
    return f"02:69:73:{kind:02x}:{link >> 8:02x}:{link & 0xFF:02x}"

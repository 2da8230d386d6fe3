"""A host beyond the hosts of a VPC, which become its router, over a link that is narrower than all before it.

::

    N-VPC (hosts, now a router)      N-VPC-beyond
    beyond0 --------------------------- eth0          MTU of both: that of the narrow link

The host there announces a maximum segment size as if its link were not narrow: else TCP would never send what is too
big, and nobody would learn of path MTU discovery.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus.datapath.netns import NAMED, inside
from isthmus.lab import names
from isthmus.lab.state import State

_ROUTER: Final = "169.254.7.1"
_ETHERNET_MSS: Final = 1460


@contextmanager
def beyond(lab: str, vpc: str, address: str, mtu: int) -> Iterator[str]:
    """The namespace of the host, for a while; LookupError if the lab has no such VPC."""
    found = State(lab).objects().plan.vpc(vpc)
    if found is None:
        raise LookupError(f"lab {lab} has no VPC {vpc}")
    router, host = found.host_namespace, names.shortened(f"{found.host_namespace}-beyond")
    if (NAMED / host).exists():
        _ip(f"netns delete {host}")  # of a run that was killed
    _ip(f"netns add {host}")
    try:
        _ip(f"-n {router} link add beyond0 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {host}")
        _ip(f"-n {router} address add {_ROUTER}/32 dev beyond0")
        _ip(f"-n {router} link set beyond0 up")
        _ip(f"-n {router} route add {address}/32 dev beyond0")
        _ip(f"-n {host} address add {address}/32 dev eth0")
        _ip(f"-n {host} link set eth0 up")
        _ip(f"-n {host} link set lo up")
        _ip(f"-n {host} route add default via {_ROUTER} dev eth0 onlink advmss {_ETHERNET_MSS}")
        with inside(router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        yield host
    finally:
        _ip(f"netns delete {host}")


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)

"""Pulls the cable of a gateway's port, and plugs it in again."""

from __future__ import annotations

from contextlib import closing

from pyroute2 import IPRoute

from isthmus.datapath.netns import inside
from isthmus.lab.plan import LabPlan


def pull(plan: LabPlan, interface: str) -> None:
    """Have the link of a port go down, which the objects call ``interface``. LookupError if there is none."""
    _switch(plan, interface, "down")


def plug(plan: LabPlan, interface: str) -> None:
    """Have it come up again."""
    _switch(plan, interface, "up")


def _switch(plan: LabPlan, interface: str, state: str) -> None:
    """By the wire's far end in the fabric; without one at the port, so that the hosts keep addresses and routes."""
    port = next((port for port in plan.ports if port.interface == interface), None)
    if port is None:
        raise LookupError(f"lab {plan.name} has no port {interface}")
    namespace, name = (plan.fabric, port.wire) if port.wire else (plan.gateway_namespace, port.name)
    with inside(namespace), closing(IPRoute()) as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state=state)

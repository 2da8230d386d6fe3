"""Offloads of a network device of the calling thread's namespace, by the ETHTOOL ioctl (linux/ethtool.h)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_SET_TX_CHECKSUM = 0x17  # ETHTOOL_STXCSUM
_SET_GRO = 0x2C  # ETHTOOL_SGRO


def prepare_for_xdp(interface: str) -> None:
    """Make the end of a veth whose other end has an XDP program fit for it.

    A veth takes frames that XDP redirects only if it has NAPI, which GRO brings; and a redirected packet is sent on as
    it is, so its checksum must be complete: transmit checksum offload off.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _set(control, interface, _SET_GRO, 1)
        _set(control, interface, _SET_TX_CHECKSUM, 0)


def _set(control: socket.socket, interface: str, command: int, value: int) -> None:
    request = array.array("B", struct.pack("=II", command, value))  # struct ethtool_value
    address, _ = request.buffer_info()
    fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("=16sQ16x", interface.encode(), address))

"""Offloads of a network device of the calling thread's namespace, by the ETHTOOL ioctl (linux/ethtool.h)."""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_SET_TX_CHECKSUM: Final = 0x17  # ETHTOOL_STXCSUM
_GET_STRINGS: Final = 0x1B  # ETHTOOL_GSTRINGS
_SET_GRO: Final = 0x2C  # ETHTOOL_SGRO
_COUNT_STRINGS: Final = 0x37  # ETHTOOL_GSSET_INFO
_GET_FEATURES: Final = 0x3A  # ETHTOOL_GFEATURES
_SET_FEATURES: Final = 0x3B  # ETHTOOL_SFEATURES
_FEATURES: Final = 4  # ETH_SS_FEATURES
_NAME_BYTES: Final = 32  # ETH_GSTRING_LEN

_SENT_TAGS_BESIDE_FRAMES: Final = {"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"}
_RECEIVED_TAGS_BESIDE_FRAMES: Final = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}
"""Features that let the tags of 802.1Q and 802.1ad (a provider's) travel in the skb, and not in the frame."""


def prepare_for_xdp(interface: str) -> None:
    """Make the end of a veth whose other end has an XDP program fit for it.

    A veth takes frames that XDP redirects only if it has NAPI, which GRO brings; and a redirected packet is sent on as
    it is, so its checksum must be complete: transmit checksum offload off. A VLAN tag beside the frame is invisible to
    XDP, which would take a tagged frame for an untagged one: so tags have to be in the frames.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _ask(control, interface, struct.pack("=II", _SET_GRO, 1))  # struct ethtool_value
        _ask(control, interface, struct.pack("=II", _SET_TX_CHECKSUM, 0))
        _switch_off(control, interface, _SENT_TAGS_BESIDE_FRAMES)


def leave_tags_in_frames(interface: str) -> None:
    """Make a port fit for an XDP program of ours: VLAN tags stay in the frames, where the program sees them.

    Hardware that takes them out would have it read a tagged frame as an untagged one, of another VPC. OSError where
    the device can't leave them in.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _switch_off(control, interface, _RECEIVED_TAGS_BESIDE_FRAMES)
        if left := _switched_on(control, interface) & _RECEIVED_TAGS_BESIDE_FRAMES:
            raise OSError(errno.EOPNOTSUPP, f"{interface} can't leave VLAN tags in frames ({', '.join(sorted(left))})")


def _switch_off(control: socket.socket, interface: str, unwanted: set[str]) -> None:
    """Features by the names that ``ethtool -k`` has for them; one that this kernel does not know is passed over."""
    bits = [number for number, name in enumerate(_feature_names(control, interface)) if name in unwanted]
    blocks = [
        sum(1 << bit % 32 for bit in bits if bit // 32 == block) for block in range(max(bits, default=-1) // 32 + 1)
    ]
    if blocks:
        wanted = b"".join(struct.pack("=II", block, 0) for block in blocks)  # valid, requested
        _ask(control, interface, struct.pack("=II", _SET_FEATURES, len(blocks)) + wanted)


def _switched_on(control: socket.socket, interface: str) -> set[str]:
    names = _feature_names(control, interface)
    blocks = -(-len(names) // 32)
    answer = _ask(control, interface, struct.pack("=II", _GET_FEATURES, blocks) + bytes(16 * blocks))
    active = [struct.unpack_from("=4I", answer, 8 + 16 * block)[2] for block in range(blocks)]  # available, requested
    return {name for number, name in enumerate(names) if active[number // 32] >> number % 32 & 1}


def _feature_names(control: socket.socket, interface: str) -> list[str]:
    count_for = struct.pack("=IIQI", _COUNT_STRINGS, 0, 1 << _FEATURES, 0)  # struct ethtool_sset_info
    _, _, _, count = struct.unpack("=IIQI", _ask(control, interface, count_for))
    room = struct.pack("=III", _GET_STRINGS, _FEATURES, count) + bytes(count * _NAME_BYTES)
    names = _ask(control, interface, room)[12:]
    return [names[at : at + _NAME_BYTES].rstrip(b"\0").decode() for at in range(0, len(names), _NAME_BYTES)]


def _ask(control: socket.socket, interface: str, command: bytes) -> bytes:
    """Hand over a command's struct, and what the kernel made of it. OSError if it refuses."""
    request = array.array("B", command)
    address, _ = request.buffer_info()
    fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("=16sQ16x", interface.encode(), address))
    return request.tobytes()

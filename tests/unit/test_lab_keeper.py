"""The keeper's choice of a hook, with a packet path that refuses some."""

from typing import cast

import pytest

from isthmus.datapath import Hook, PacketPath
from isthmus.lab.keeper import attach
from isthmus.lab.plan import Link
from isthmus.tables.entries import AttachmentKey

ANY_INTERFACE = "lo"


class Refusing:
    def __init__(self, *refused: Hook) -> None:
        self.refused = refused
        self.attached: list[Hook] = []

    def attach(self, _: int, hook: Hook) -> None:
        if hook in self.refused:
            raise OSError("the driver has no such thing")
        self.attached.append(hook)


def hook_for(asked: str, *refused: Hook) -> Hook:
    mac = "02:69:73:02:00:00"
    link = Link(AttachmentKey("v", "eth1"), asked, "eth0", "port0", "kern0", mac, mac, mac, 1500, (), {}, (), ())
    path = Refusing(*refused)
    binding = attach(cast(PacketPath, path), link, ANY_INTERFACE, mac)
    assert path.attached == [binding.hook]
    assert (binding.mac.hex(":"), binding.mtu) == (mac, 1500)
    return binding.hook


def test_auto_is_native_xdp_or_else_generic() -> None:
    assert hook_for("auto") == "xdp"
    assert hook_for("auto", "xdp") == "generic"


def test_what_was_asked_for_has_no_substitute() -> None:
    assert hook_for("tc", "xdp", "generic") == "tc"
    with pytest.raises(OSError, match="no such thing"):
        hook_for("xdp", "xdp")

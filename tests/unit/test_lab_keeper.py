"""The keeper's choice of a hook, and what it does with neighbours, with a packet path that refuses some."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import cast

import pytest

from isthmus.datapath import Hook, PacketPath
from isthmus.lab import feeds, keeper
from isthmus.lab.keeper import Keeper, attach
from isthmus.lab.plan import LabPlan, LabVpc
from isthmus.lab.service.service import Service
from isthmus.lab.wiring import Link
from isthmus.routing.neighbours import Neighbour
from isthmus.tables.address import Family, parse_address
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


MAC = "02:69:73:02:00:00"
PORT = AttachmentKey("v", "eth1")


def link_of(inside: str) -> Link:
    return Link(PORT, "auto", inside, "port0", "kern0", MAC, MAC, MAC, 1500, (), {}, (), ())


def hook_for(asked: str, *refused: Hook) -> Hook:
    path = Refusing(*refused)
    binding = attach(cast(PacketPath, path), asked, ANY_INTERFACE, MAC, 1500)
    assert path.attached == [binding.hook]
    assert (binding.mac.hex(":"), binding.mtu) == (MAC, 1500)
    return binding.hook


def test_auto_is_native_xdp_or_else_generic() -> None:
    assert hook_for("auto") == "xdp"
    assert hook_for("auto", "xdp") == "generic"


def test_what_was_asked_for_has_no_substitute() -> None:
    assert hook_for("tc", "xdp", "generic") == "tc"
    with pytest.raises(OSError, match="no such thing"):
        hook_for("xdp", "xdp")


class Full:
    """A packet path with room for so many neighbours, or that refuses each with an error."""

    def __init__(self, room: int, error: OSError | None = None) -> None:
        self.room, self.error = room, error
        self.noted: list[int] = []
        self.event_fd = os.eventfd(0)

    def set_neighbor(self, key: AttachmentKey, family: Family, address: int, mac: bytes | None) -> bool:
        if self.error:
            raise self.error
        if mac is None or len(self.noted) >= self.room:
            return False
        self.noted.append(address)
        return True


class Told:
    """A kernel that tells these neighbours, or fails between them, and that can't be asked."""

    def __init__(self, *what: Neighbour | OSError) -> None:
        self._what = list(what)
        self._fd = os.eventfd(1)

    def fileno(self) -> int:
        return self._fd

    def changes(self) -> Iterator[Neighbour]:
        while self._what:
            one = self._what.pop(0)
            if isinstance(one, OSError):
                raise one
            yield one

    def resolve(self, *_: object) -> None:
        raise OSError("no buffer space")

    def close(self) -> None:
        os.close(self._fd)


ROUTERS = tuple(parse_address(f"10.1.1.{number}") for number in range(1, 6))
LOOPBACK = 1
FOUND = [Neighbour(LOOPBACK, *router, bytes.fromhex("026973010000")) for router in ROUTERS]


def keep(monkeypatch: pytest.MonkeyPatch, path: Full, *told: Neighbour | OSError) -> None:
    """Returns when the keeper of a lab has found all routers of its only VPC. Somebody asks it in vain meanwhile."""
    monkeypatch.setattr(feeds, "Neighbours", lambda: Told(*told))
    monkeypatch.setattr(feeds, "inside", nullcontext)
    monkeypatch.setattr(keeper, "_READY_WITHIN_S", 0.05)
    monkeypatch.setattr(keeper, "_ASK_AGAIN_S", 0.01)
    link = link_of(inside=ANY_INTERFACE)._replace(routers=ROUTERS)
    plan = LabPlan("lab", "gw", (LabVpc("v", "hosts", "kernel", (link,), ()),), ())
    with ExitStack() as stack:
        stop = os.eventfd(0)
        for fd in (stop, path.event_fd):
            stack.callback(os.close, fd)
        where = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "ask"
        service = stack.enter_context(closing(Service(where, endless)))
        asking = stack.enter_context(socket.socket(socket.AF_UNIX))
        asking.connect(str(where))
        asking.send(b"{}\n")
        next(Keeper(plan, cast(PacketPath, path), service, stack).run(plan, stop))


def endless(_: object) -> Iterator[bytes]:
    while True:
        yield b""


def test_a_failed_read_and_a_question_that_can_t_be_asked_are_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = Full(room=5)
    keep(monkeypatch, path, *FOUND[:2], OSError("out of memory"), *FOUND[2:])
    assert path.noted == [address for _, address in ROUTERS]
    assert [record.message.partition(":")[2] for record in caplog.records] == [" no buffer space", " out of memory"]


def test_a_full_table_is_logged_once_and_told_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = Full(room=3)
    with pytest.raises(TimeoutError, match=r"can't reach 10.1.1.4 of v, 10.1.1.5 of v; .* v on eth1 has more neighb"):
        keep(monkeypatch, path, *FOUND)
    assert len(path.noted) == 3
    assert len([record for record in caplog.records if "more neighbours" in record.message]) == 1


def test_neighbours_that_are_gone_are_no_reason_to_complain_of_a_full_table(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(monkeypatch, Full(room=5), FOUND[0]._replace(mac=None), *FOUND)
    assert "more neighbours" not in caplog.text


def test_a_packet_path_that_fails_is_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TimeoutError, match="takes no neighbour of v: too big"):
        keep(monkeypatch, Full(room=5, error=OSError("too big")), *FOUND)
    assert caplog.text.count("too big") == 1

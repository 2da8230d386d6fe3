"""The libbpf binding against the running kernel: each test loads bpf/selftest.bpf.c and asks it something."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import isthmus.datapath
from isthmus.datapath.libbpf import (
    BpfError,
    BpfMap,
    BpfObject,
    RingBuffer,
    attach_raw_tracepoint,
    attach_tcx,
    attach_xdp,
    possible_cpus,
    struct_layout,
    struct_size,
)
from isthmus.datapath.netns import inside

OBJECT = Path(next(iter(isthmus.datapath.__path__))) / "selftest.bpf.o"
PACKET = bytes(range(64))
XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX = range(4)
LOOPBACK = 1


def xdp_md(length: int, ifindex: int = LOOPBACK) -> bytes:
    """``struct xdp_md``: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex."""
    return struct.pack("=6I", 0, length, 0, ifindex, 0, 0)


def key(number: int) -> bytes:
    return struct.pack("=I", number)


@pytest.fixture
def opened() -> Iterator[BpfObject]:
    with BpfObject.open(OBJECT) as obj:
        obj.leave_out("careless")
        yield obj


@pytest.fixture
def loaded(opened: BpfObject) -> BpfObject:
    opened.load()
    return opened


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with a veth pair, a0 and a1, up."""
    name = f"isthmus-libbpf-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for line in ("link add a0 type veth peer name a1", "link set a0 up", "link set a1 up"):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def ifindex(name: str) -> int:
    """The interface's index in the current namespace; /sys would answer for the process's first one."""
    return socket.if_nametoindex(name)


def test_a_program_answers_for_one_packet(loaded: BpfObject) -> None:
    run = loaded.program("stamp").test_run(PACKET)
    assert (run.retval, run.data_out, run.ctx_out) == (XDP_DROP, bytes(8) + PACKET[8:], b"")


def test_a_program_runs_as_often_as_asked_and_counts_each_run(loaded: BpfObject) -> None:
    loaded.program("stamp").test_run(PACKET, repeat=1000, out_size=0)
    assert sum(int.from_bytes(value, "little") for value in loaded.map("counted").lookup_percpu(key(0))) == 1000


def test_the_context_goes_in_and_comes_back(loaded: BpfObject) -> None:
    context = xdp_md(len(PACKET))
    assert loaded.program("stamp").test_run(PACKET, ctx=context).ctx_out == context


def test_a_context_that_contradicts_the_packet_is_refused(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match="run program stamp on a packet of 64 bytes") as caught:
        loaded.program("stamp").test_run(PACKET, ctx=xdp_md(len(PACKET) + 1))
    assert caught.value.errno == errno.EINVAL


def test_a_larger_packet_than_asked_for_is_an_error(loaded: BpfObject) -> None:
    with pytest.raises(BpfError) as caught:
        loaded.program("stamp").test_run(PACKET, out_size=10)
    assert caught.value.errno == errno.ENOSPC


def test_a_tc_program_sees_its_context(loaded: BpfObject) -> None:
    run = loaded.program("pass_marked").test_run(PACKET, ctx=bytes(192))
    assert run.retval == 0xFFFFFFFF
    assert run.data_out == PACKET


def test_constants_are_set_before_the_load(opened: BpfObject) -> None:
    opened.set_rodata("verdict", struct.pack("=I", XDP_TX))
    opened.set_rodata("mark", b"isthmus!")
    opened.load()
    run = opened.program("stamp").test_run(PACKET)
    assert (run.retval, run.data_out[:8]) == (XDP_TX, b"isthmus!")


def test_a_constant_that_is_not_there_is_named_with_those_that_are(opened: BpfObject) -> None:
    with pytest.raises(BpfError, match=r"no constant verdikt; it has mark, verdict"):
        opened.set_rodata("verdikt", bytes(4))


def test_a_constant_of_the_wrong_size_is_refused(opened: BpfObject) -> None:
    with pytest.raises(ValueError, match="verdict has 4 bytes, not 8"):
        opened.set_rodata("verdict", bytes(8))


def test_a_constant_can_not_be_set_after_the_load(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match="constant verdict can only be set before the load"):
        loaded.set_rodata("verdict", bytes(4))


def test_a_map_is_resized_before_the_load_only(opened: BpfObject) -> None:
    opened.resize("records", 99)
    opened.load()
    assert opened.map("records").max_entries == 99
    with pytest.raises(BpfError, match="resize map records"):
        opened.resize("records", 100)


def test_what_the_verifier_refuses_is_said_in_its_words() -> None:
    with (
        BpfObject.open(OBJECT) as obj,
        pytest.raises(BpfError, match=r"(?s)load .*selftest.*invalid access to packet") as e,
    ):
        obj.load()
    assert e.value.errno == errno.EACCES


def test_a_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.bpf.o"
    path.write_text("no ELF file")
    with pytest.raises(BpfError, match=r"open the BPF object .*text\.bpf\.o"):
        BpfObject.open(path)


def test_unknown_names_are_answered_with_known_ones(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match="no map recordz; it has .*records"):
        loaded.map("recordz")
    with pytest.raises(BpfError, match="no program stomp; it has .*stamp"):
        loaded.program("stomp")


def test_maps_and_programs_exist_only_after_the_load(opened: BpfObject) -> None:
    with pytest.raises(BpfError, match="before the object is loaded"):
        opened.map("records")
    with pytest.raises(BpfError, match="stamp is not loaded"):
        opened.program("stamp")


def test_a_closed_object_says_so(loaded: BpfObject) -> None:
    loaded.close()
    with pytest.raises(BpfError, match="is closed"):
        loaded.map("records")


def test_a_hash_map_keeps_finds_walks_and_deletes(loaded: BpfObject) -> None:
    records = loaded.map("records")
    entries = {key(number): bytes([number]) * records.value_size for number in range(5)}
    for at, value in entries.items():
        records.update(at, value)
    assert dict(records.items()) == entries
    assert records.delete(key(3))
    assert not records.delete(key(3))
    assert records.lookup(key(3)) is None
    assert records.lookup(key(4)) == entries[key(4)]
    assert sorted(records.keys()) == [key(0), key(1), key(2), key(4)]


def test_a_full_map_and_a_flag_are_refused_with_the_kernels_reason(loaded: BpfObject) -> None:
    records = loaded.map("records")
    value = bytes(records.value_size)
    for number in range(8):
        records.update(key(number), value)
    with pytest.raises(BpfError) as full:
        records.update(key(8), value)
    assert full.value.errno == errno.E2BIG
    with pytest.raises(BpfError) as present:
        records.update(key(1), value, flags=1)
    assert present.value.errno == errno.EEXIST


@pytest.mark.parametrize(("at", "value"), [(b"123", bytes(24)), (b"1234", bytes(23))])
def test_keys_and_values_of_a_wrong_length_never_reach_the_kernel(loaded: BpfObject, at: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="map records: a"):
        loaded.map("records").update(at, value)


def test_an_array_is_filled_in_one_call(loaded: BpfObject) -> None:
    cells = loaded.map("cells")
    keys = struct.pack("=1024I", *range(1024))
    cells.update_batch(keys, struct.pack("=1024Q", *(number * number for number in range(1024))), 1024)
    assert cells.lookup(key(1000)) == struct.pack("=Q", 1_000_000)
    with pytest.raises(ValueError, match="3 keys have 12 bytes, not 4"):
        cells.update_batch(key(1), bytes(24), 3)


def test_many_entries_of_a_hash_map_are_deleted_at_once_and_none_that_is_not_there(loaded: BpfObject) -> None:
    records = loaded.map("records")
    for number in range(4):
        records.update(key(number), bytes(records.value_size))
    records.delete_batch(key(0) + key(2))
    records.delete_batch(b"")
    assert sorted(records.keys()) == [key(1), key(3)]
    with pytest.raises(BpfError, match="delete 2 entries from map records .1 are gone"):
        records.delete_batch(key(1) + key(2))
    with pytest.raises(ValueError, match="a key has 4 bytes, and 5 are no whole number"):
        records.delete_batch(bytes(5))


def test_mapped_memory_is_what_the_program_reads(loaded: BpfObject) -> None:
    memory = loaded.map("cells").mmap()
    memory[7 * 8 : 8 * 8] = struct.pack("=Q", XDP_TX)
    assert loaded.program("read_cell").test_run(PACKET).retval == XDP_TX
    memory[7 * 8 : 8 * 8] = struct.pack("=Q", XDP_PASS)
    assert loaded.program("read_cell").test_run(PACKET).retval == XDP_PASS


def test_a_map_that_cannot_be_mapped_says_what_it_should_be(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match="BPF_F_MMAPABLE"):
        loaded.map("records").mmap()


def test_a_per_cpu_value_has_one_part_for_each_cpu(loaded: BpfObject) -> None:
    counted = loaded.map("counted")
    assert counted.lookup_percpu(key(0)) == [bytes(4)] * possible_cpus()
    counted.update(key(0), b"".join(struct.pack("=Q", cpu) for cpu in range(possible_cpus())))
    assert counted.lookup_percpu(key(0)) == [struct.pack("=I", cpu) for cpu in range(possible_cpus())]


def test_a_map_can_be_made_without_an_object() -> None:
    made = BpfMap.create(1, "made_by_hand", 4, 8, 16)
    try:
        made.update(key(1), bytes(8))
        assert (made.name, made.max_entries, list(made.keys())) == ("made_by_hand", 16, [key(1)])
    finally:
        os.close(made.fd)


def test_an_object_can_use_the_map_of_another(loaded: BpfObject) -> None:
    with BpfObject.open(OBJECT) as second:
        second.leave_out("careless")
        second.reuse_map("cells", loaded.map("cells").fd)
        second.load()
        loaded.map("cells").update(key(7), struct.pack("=Q", XDP_TX))
        assert second.program("read_cell").test_run(PACKET).retval == XDP_TX


def test_struct_layouts_are_those_of_the_compiler(opened: BpfObject) -> None:
    assert struct_layout(opened, "record") == {
        "kind": (0, 1),
        "count": (4, 4),
        "whole": (8, 8),
        "half": (8, 8),
        "inner": (16, 8),
    }
    assert struct_size(opened, "record") == 24
    with pytest.raises(KeyError, match="no struct recard; it knows .*record"):
        struct_layout(opened, "recard")


def test_a_ring_buffer_hands_over_records_in_order(loaded: BpfObject) -> None:
    seen: list[bytes] = []
    with RingBuffer(loaded.map("events"), seen.append) as ring:
        for number in range(3):
            loaded.program("report").test_run(struct.pack("=Q", number) + PACKET)
        assert ring.fd >= 0
        assert ring.poll(1000) == 3
        assert ring.poll(0) == 0
    assert seen == [struct.pack("=Q", number) for number in range(3)]


def test_an_exception_of_a_ring_buffers_callback_comes_out_of_poll(loaded: BpfObject) -> None:
    def refuse(record: bytes) -> None:
        raise LookupError(record.hex())

    with RingBuffer(loaded.map("events"), refuse) as ring:
        loaded.program("report").test_run(PACKET)
        with pytest.raises(LookupError, match="0001020304050607"):
            ring.poll(1000)


def test_live_frames_are_carried_over_a_veth_and_counted_by_xdp_on_its_far_end(
    opened: BpfObject, namespace: str
) -> None:
    """live frames -> stamp says XDP_TX -> a0 ==veth== a1 -> report counts by ring buffer and passes"""
    opened.set_rodata("verdict", struct.pack("=I", XDP_TX))
    opened.set_rodata("mark", b"isthmus!")
    opened.load()
    seen: list[bytes] = []
    with (
        inside(namespace),
        attach_xdp(opened.program("report"), ifindex("a1")),
        RingBuffer(opened.map("events"), seen.append) as ring,
    ):
        opened.program("stamp").run_live(PACKET, xdp_md(len(PACKET), ifindex("a0")), repeat=100, batch_size=10)
        while len(seen) < 100 and ring.poll(2000):
            pass
    assert seen.count(b"isthmus!") == 100


def test_a_link_holds_its_interface_until_it_is_closed(loaded: BpfObject, namespace: str) -> None:
    with inside(namespace):
        first = attach_xdp(loaded.program("stamp"), ifindex("a0"))
        with pytest.raises(BpfError, match=r"attach report to XDP \(native\)") as busy:
            attach_xdp(loaded.program("report"), ifindex("a0"))
        assert busy.value.errno == errno.EBUSY
        first.update(loaded.program("report"))
        first.close()
        first.close()
        attach_xdp(loaded.program("report"), ifindex("a0"), "generic").close()


def test_tcx_attaches_or_says_that_the_kernel_is_older(loaded: BpfObject, namespace: str) -> None:
    with inside(namespace), attach_tcx(loaded.program("pass_marked"), ifindex("a0")):
        shown = subprocess.run(["ip", "-d", "link", "show", "a0"], check=True, capture_output=True, text=True)
    assert "a0" in shown.stdout


def test_a_raw_tracepoint_attaches_and_detaches(loaded: BpfObject) -> None:
    with attach_raw_tracepoint(loaded.program("devmap_sent"), "xdp_devmap_xmit"):
        pass
    with pytest.raises(BpfError, match="tracepoint no_such_thing"):
        attach_raw_tracepoint(loaded.program("devmap_sent"), "no_such_thing")


def test_a_thread_comes_back_from_a_namespace_also_after_an_error(namespace: str) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with inside(namespace):
        assert os.readlink("/proc/thread-self/ns/net") != home
    assert os.readlink("/proc/thread-self/ns/net") == home
    with pytest.raises(RuntimeError), inside(namespace):
        raise RuntimeError
    assert os.readlink("/proc/thread-self/ns/net") == home
    with pytest.raises(FileNotFoundError), inside("isthmus-no-such-namespace"):
        pass

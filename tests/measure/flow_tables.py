"""What it costs to find and to add a flow, by the structure that leads from its keys to its record.

``python -m tests.measure.flow_tables [-o json]``, as root. Every candidate works on the same flows in turn, round by
round, on one CPU; medians are shown, less what drawing a flow at random costs. "Waiting": each look-up begins when
the one before has read its record, as for a lone packet; "overlapped": the CPU may begin the next one before.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, sizeof
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from isthmus.bench.machine import Neighbours, pinned, quietest_cpu
from isthmus.datapath.libbpf import BpfMap, BpfObject, BpfProgram, abi

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = Path(__file__).with_suffix(".bpf.c")
PACKET: Final = bytes(64)

SIZES: Final = (1, 100_000, 1_000_000, 4_000_000)
INSERTED: Final = 1_000_000
QUEUED: Final = 1_000_000
ROUNDS: Final = 7
LOOK_UPS: Final = 65_536  # in one measurement; as many before it fill the caches
PIECE: Final = 50_000  # flows added in one run
BUCKET_SLOTS: Final = 8
PAGE_BUCKETS: Final = 64

FOUND: Final = {  # program: what it is
    "record": "no table: the index is known",
    "find_hashed": "A  HASH, preallocated",
    "find_allocated": "B  HASH, NO_PREALLOC",
    "find_lru": "C  LRU_HASH",
    "find_emptier": "D  buckets, the emptier of two",
    "find_filled": "D' buckets, the first up to 4",
    "find_picked": "D' without branches in a bucket",
}
PUT: Final = {
    "write": "no table: the record is written",
    "put_hashed": FOUND["find_hashed"],
    "put_allocated": FOUND["find_allocated"],
    "put_lru": FOUND["find_lru"],
    "put_emptier": FOUND["find_emptier"],
    "put_filled": FOUND["find_filled"],
}
TABLES: Final = ("hashed", "allocated", "lru", "emptier", "filled")
MODES: Final = ("waiting", "overlapped")


class Programs:
    """The loaded object, with tables for so many flows, and its variables."""

    def __init__(self, obj: BpfObject) -> None:
        self._obj = obj
        self._memory = memoryview(obj.map(".bss").mmap())
        self._places = obj.btf.variables(".bss")

    def set(self, name: str, value: int) -> None:
        """Write a global variable."""
        offset, size = self._places[name]
        self._memory[offset : offset + size] = value.to_bytes(size, "little")

    def take(self, name: str) -> int:
        """Read a global variable and set it to 0."""
        offset, size = self._places[name]
        value = int.from_bytes(self._memory[offset : offset + size], "little")
        self.set(name, 0)
        return value

    def map(self, name: str) -> BpfMap:
        """A map of the object."""
        return self._obj.map(name)

    def run(self, program: str, steps: int) -> float:
        """Nanoseconds a step."""
        self.set("steps", steps)
        return self._program(program).test_run(PACKET, out_size=0).duration_ns / steps

    def _program(self, name: str) -> BpfProgram:
        return self._obj.program(name)

    def memory(self, name: str) -> int:
        """Bytes that the kernel keeps for a map, by its own account (fdinfo)."""
        lines = Path(f"/proc/self/fdinfo/{self._obj.map(name).fd}").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("memlock:"))


@dataclass
class Report:
    """All figures: nanoseconds, bytes, counts."""

    look_ups: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)  # mode, candidate, flows
    drawing: dict[str, dict[int, float]] = field(default_factory=dict)  # mode, flows: subtracted from the above
    insertions: dict[str, float] = field(default_factory=dict)  # candidate: mean up to a million flows
    late_insertions: dict[str, float] = field(default_factory=dict)  # the last tenth of them
    bytes_a_flow: dict[str, float] = field(default_factory=dict)  # table: both keys, without the record
    second_buckets: dict[str, float] = field(default_factory=dict)  # share of look-ups, at a million flows
    first_refusal: dict[str, float] = field(default_factory=dict)  # share of slots in use when a bucket pair was full
    failures: dict[str, int] = field(default_factory=dict)
    queue_pop_and_push: float = 0.0
    timer: dict[str, int] = field(default_factory=dict)
    foreign_cores: float = 0.0
    elapsed: float = 0.0


def compile_object(source: Path, folder: Path) -> Path:
    """Compile the programs, with the flags of bpf/Makefile."""
    target = folder / source.with_suffix(".o").name
    multiarch = sysconfig.get_config_var("MULTIARCH")
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3"]
    subprocess.run(
        ["clang-19", *flags, f"-I/usr/include/{multiarch}", f"-I{ROOT / 'bpf'}", "-c", source, "-o", target], check=True
    )
    return target


@contextmanager
def loaded(path: Path, flows: int, records: int | None = None) -> Iterator[Programs]:
    """The programs with empty tables for so many flows (twice as many keys, up to a power of two).

    A kernel table has as many entries as that, and the buckets twice as many slots."""
    entries = max(1 << (2 * flows - 1).bit_length(), 1024)
    buckets = entries * 2 // BUCKET_SLOTS
    with BpfObject.open(path) as obj:
        obj.set_rodata("bucket_mask", struct.pack("=I", buckets - 1))
        obj.resize("records", records or flows)
        for table in TABLES:
            obj.resize(table, buckets if table in {"emptier", "filled"} else entries)
        obj.resize("queue", QUEUED)
        obj.load()
        programs = Programs(obj)
        programs.set("seed", 0x2545F4914F6CDD1D)
        yield programs


def insert(programs: Programs, flows: int, report: Report) -> dict[str, list[float]]:
    """Add flows to every table, piece by piece in turn; the mean of each piece."""
    pieces: dict[str, list[float]] = {name: [] for name in ("make", *PUT)}
    done = 0
    while done < flows:
        piece = min(PIECE, flows - done)
        for name, taken in pieces.items():
            taken.append(programs.run(name, piece))
            count_failures(programs, name, report)
        done += piece
    return pieces


def count_failures(programs: Programs, name: str, report: Report) -> None:
    """Note what did not succeed: there is nothing to compare then."""
    if failed := programs.take("failures"):
        report.failures[name] = report.failures.get(name, 0) + failed


def look_up(programs: Programs, flows: int, rounds: int, report: Report) -> None:
    """Find flows at random, candidate by candidate, round by round."""
    programs.set("flows", flows)
    for mode in MODES:
        programs.set("chained", mode == "waiting")
        samples: dict[str, list[float]] = {name: [] for name in ("draw_only", *FOUND)}
        for _ in range(rounds):
            for name, sample in samples.items():
                programs.run(name, LOOK_UPS)
                programs.take("seconds")
                sample.append(programs.run(name, LOOK_UPS))
                count_failures(programs, name, report)
                if flows == INSERTED and name in {"find_emptier", "find_filled"}:
                    report.second_buckets[name] = programs.take("seconds") / LOOK_UPS
        drawing = median(samples.pop("draw_only"))
        report.drawing.setdefault(mode, {})[flows] = drawing
        for name, sample in samples.items():
            report.look_ups.setdefault(mode, {}).setdefault(name, {})[flows] = median(sample) - drawing


def measure_sizes(path: Path, rounds: int, report: Report) -> None:
    """Look-ups at every size; insertions on the way to the million."""
    whole: dict[str, list[float]] = {name: [] for name in PUT}
    late: dict[str, list[float]] = {name: [] for name in PUT}
    for flows in SIZES:
        for last in [False] * (rounds - 1) + [True] if flows == INSERTED else [True]:
            with loaded(path, flows) as programs:
                pieces = insert(programs, flows, report)
                if flows == INSERTED:
                    making, tenth = median(pieces["make"]), len(pieces["make"]) // 10
                    for name in PUT:
                        whole[name].append(sum(pieces[name]) / len(pieces[name]) - making)
                        late[name].append(sum(pieces[name][-tenth:]) / tenth - making)
                    report.bytes_a_flow = {table: programs.memory(table) / flows for table in TABLES}
                if last:
                    look_up(programs, flows, rounds, report)
    report.insertions = {name: median(taken) for name, taken in whole.items()}
    report.late_insertions = {name: median(taken) for name, taken in late.items()}


def measure_refusal(path: Path, report: Report) -> None:
    """Fill the buckets of 500,000 flows until a key finds both of its buckets full."""
    flows = 500_000
    slots = 2 * (1 << (2 * flows - 1).bit_length())
    with loaded(path, flows, records=slots // 2) as programs:
        for name in ("put_emptier", "put_filled"):
            done = 0
            while not programs.take("failures") and done < slots // 2:
                programs.run(name, 1000)
                done += 1000
            report.first_refusal[name] = done * 2 / slots


def measure_queue(path: Path, rounds: int, report: Report) -> None:
    """Take the oldest of a million free indexes, and put it back."""
    with loaded(path, 1) as programs:
        programs.run("enqueue", QUEUED)
        samples = [programs.run("requeue", LOOK_UPS) - programs.run("empty", LOOK_UPS) for _ in range(rounds)]
        report.queue_pop_and_push = median(samples)
        count_failures(programs, "requeue", report)


def measure_timer(path: Path, report: Report) -> None:
    """Start a timer from a syscall program; beats with the object open, and with only a file descriptor of its map."""
    with BpfObject.open(path) as obj:
        obj.set_rodata("bucket_mask", struct.pack("=I", PAGE_BUCKETS - 1))
        obj.load()
        options = abi.TestRunOptions(sz=sizeof(abi.TestRunOptions))
        if abi.library().bpf_prog_test_run_opts(obj.program("start_timer").fd, byref(options)) < 0:
            raise abi.failure("start a timer from a syscall program")
        offset, size = obj.btf.struct_layout("beat")["count"]
        refusal, _ = obj.btf.struct_layout("beat")["refusal"]
        held = BpfMap.from_fd(os.dup(obj.map("beats").fd))

        def beats() -> int:
            value = held.lookup(bytes(4)) or b""
            report.timer["refusal"] = int.from_bytes(value[refusal : refusal + 8], "little", signed=True)
            return int.from_bytes(value[offset : offset + size], "little")

        time.sleep(0.5)
        report.timer["beats in 0.5 s, object open"] = beats()
    before = beats()
    time.sleep(0.5)
    report.timer["beats in 0.5 s, only the map's fd open"] = beats() - before
    os.close(held.fd)


def show(report: Report) -> str:
    """The report as text."""
    lines: list[str] = []
    for mode in MODES:
        head = "".join(f"{size:>12,}" for size in SIZES)
        lines += ["", f"look-up with its record, ns ({mode})".ljust(42) + head]
        drawn = "".join(f"{value:12.1f}" for value in report.drawing[mode].values())
        lines += ["  (drawing a flow, subtracted below)".ljust(42) + drawn]
        for name, title in FOUND.items():
            lines += [f"  {title}".ljust(42) + "".join(f"{ns:12.1f}" for ns in report.look_ups[mode][name].values())]
    lines += [
        "",
        "a new flow, ns (both keys, record written)".ljust(42) + f"{'to 1,000,000':>12}{'last tenth':>12}{'bytes':>12}",
    ]
    for name, title in PUT.items():
        table = name.removeprefix("put_")
        size = f"{report.bytes_a_flow[table]:12.0f}" if table in report.bytes_a_flow else f"{'':12}"
        lines += [f"  {title}".ljust(42) + f"{report.insertions[name]:12.1f}{report.late_insertions[name]:12.1f}{size}"]
    lines += ["  bytes: of the table, a flow of a million, without its record of 128", ""]
    lines += [
        f"{FOUND[name]}: second bucket in {share:.0%} of look-ups" for name, share in report.second_buckets.items()
    ]
    lines += [f"{PUT[name]}: first refusal at {share:.0%} of slots" for name, share in report.first_refusal.items()]
    lines += [f"queue of a million: pop and push {report.queue_pop_and_push:.1f} ns"]
    lines += ["timer: " + ", ".join(f"{name}: {value}" for name, value in report.timer.items())]
    lines += [f"failures: {report.failures or 'none'}"]
    lines += [f"{report.elapsed:.0f} s; others used {report.foreign_cores:.2f} cores meanwhile"]
    return "\n".join(lines[1:])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.measure.flow_tables", description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    report, cpu, started = Report(), quietest_cpu(), time.perf_counter()
    neighbours = Neighbours(cpu)
    with tempfile.TemporaryDirectory() as folder, pinned(cpu), neighbours.watch():
        path = compile_object(SOURCE, Path(folder))
        measure_timer(path, report)
        measure_queue(path, arguments.rounds, report)
        measure_sizes(path, arguments.rounds, report)
        measure_refusal(path, report)
    report.foreign_cores, report.elapsed = neighbours.cores, time.perf_counter() - started
    print(json.dumps(asdict(report), indent=2) if arguments.output == "json" else show(report))


if __name__ == "__main__":
    main()

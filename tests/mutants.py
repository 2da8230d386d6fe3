"""Can the tests fail? Breaks the packet path on purpose, one place at a time; the short tests must turn red each time.

``scripts/mutate [WORD]`` works in a copy, some five seconds a mutant; WORD picks those whose name holds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TESTS = tuple(f"tests/bpf/test_{name}.py" for name in ("differential", "share", "isolation", "apply"))


class Mutant(NamedTuple):
    """A name, a file, and what in it becomes what."""

    name: str
    file: str
    old: str
    new: str


GATEWAY, PARSE, PATH, RULES = ("bpf/gateway.bpf.c", *(f"bpf/stages/{n}.h" for n in ("parse", "path", "rules")))
REWRITE, ERRORS, HOP = (f"bpf/stages/{n}.h" for n in ("rewrite", "icmp_error", "next_hop"))

MUTANTS = (
    Mutant("parse: seven extension headers", PARSE, "MAX_EXTENSIONS 6", "MAX_EXTENSIONS 7"),
    Mutant("parse: source routes pass", PARSE, "if (*option == 131 || *option == 137)", "if (0)"),
    Mutant("classify: a tagged frame is untagged", "bpf/stages/classify.h", "packet->frame == FRAME_TAGGED || vlan", "vlan"),
    Mutant("classify: any MAC is ours", GATEWAY, "__builtin_memcmp(eth->h_dest, in->mac, ETH_ALEN)", "0"),
    Mutant("gateway: spoofed source passes", GATEWAY, "if (find_range(own, &ip->src))", "if (0)"),
    Mutant("martian: source is not asked", GATEWAY, "is_martian(ip->family, ip->src) ||", ""),
    Mutant("martian: redirects cross", PARSE, "if (type == 4 || type == 5)", "if (0)"),
    Mutant("path: higher metric wins", PATH, "metric > best->metric", "metric < best->metric"),
    Mutant("path: shorter prefix wins", PATH, "length < best->length ||", "length > best->length ||"),
    Mutant("path: only the first candidate", PATH, "if (!(first->flags & CANDIDATE_LAST)) {", "if (0) {"),
    Mutant("path: lowest weight wins", PATH, "weight <= best->weight", "weight >= best->weight"),
    Mutant("path: another next hop of equal ones", PATH, "i == 0 || weight > best", "i == 0 || weight < best"),
    Mutant("path: prefix of a node is not asked", PATH, "return node->miss;", ";"),
    Mutant("path: gateway's address in a peer", PATH, "return route->local ? V_GATEWAY_ADDRESS : 0;", "return 0;"),
    Mutant("path: a stateful side lets in", GATEWAY, "candidate->kind == PATH_STATEFUL", "0"),
    Mutant("source: not asked", RULES, "return V_SOURCE_NOT_EXPOSED;", "return V_FORWARDED;"),
    Mutant("source: holes ignored", "src/isthmus/compile/sides.py", "cut(low, low + span, barred, unit)", "cut(low, low + span, [], unit)"),
    Mutant("rules: ports ignored", RULES, "s->sport < rule->sport_first ||", "0 ||"),
    Mutant("rules: payload read as ports", RULES, "if (s->flags & LATER) {", "if (0) {"),
    Mutant("rules: a stateful rule passes", RULES, "RULE_STATELESS ? V_FORWARDED : V_NOT_CARRIED", "RULE_STATELESS ? 0 : 0"),
    Mutant("rules: index cut one off", RULES, "at.lo < cut->first.lo", "at.lo <= cut->first.lo"),
    Mutant("errors: rules not asked", ERRORS, "if (there->flags & SIDE_HAS_RULES) {", "if (0) {"),
    Mutant("errors: about another's packet", ERRORS, "!addr_equal(inner->src, ip->dst) ||", ""),
    Mutant("errors: inner checksum forgotten", REWRITE, "all += mend_transport(start, end, inner, changes);", ""),
    Mutant("translate: source and destination swapped", REWRITE, "ip, packet->src, packet->dst, changes)", "ip, packet->dst, packet->src, changes)"),
    Mutant("translate: UDP without checksum gets one", REWRITE, "if (udp && !old)", "if (0)"),
    Mutant("ttl: not lowered", REWRITE, "v4->ttl--;", ""),
    Mutant("ttl: never used up", GATEWAY, "if (ip->ttl <= 1) {", "if (0) {"),
    Mutant("mtu: not asked", GATEWAY, "wire_length(ctx, hook, ip) > out->mtu", "0"),
    Mutant("next hop: of another link", HOP, "out->link, packet->ip.family", "0, packet->ip.family"),
    Mutant("generation: always the first", GATEWAY, "control->generation & 1", "0"),
    Mutant("answers: one budget for all", "bpf/stages/answer.h", "answer_allowed(attachment->link)", "answer_allowed(0)"),
    Mutant("devmap: slot 0 is given out", "src/isthmus/datapath/gateway.py", "self._ports.number(ifindex) + 1", "self._ports.number(ifindex)"),
    Mutant("neighbours: outlive their link", "src/isthmus/datapath/gateway.py", "self._neighbours.forget(link)", "pass"),
    Mutant("apply: a failure is not rolled back", "src/isthmus/datapath/gateway.py", "table.roll_back()", "pass"),
)  # fmt: skip


def survives(copy: Path, mutant: Mutant) -> bool:
    """True if the tests stay green in the copy with the mutant in it; the copy is as before afterwards."""
    file = copy / mutant.file
    text = file.read_text()
    if mutant.old not in text:
        raise SystemExit(f"{mutant.name}: {mutant.file} has no {mutant.old!r} any more: mend tests/mutants.py")
    file.write_text(text.replace(mutant.old, mutant.new, 1))
    try:
        subprocess.run(["make", "-s", "-C", copy / "bpf", "CFLAGS=-Wno-error"], check=True, capture_output=True)
        environment = {**os.environ, "PYTHONPATH": f"{copy / 'src'}:{copy}"}
        run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
        return subprocess.run(run, cwd=copy, env=environment, capture_output=True, check=False).returncode == 0
    finally:
        file.write_text(text)


def main() -> int:
    """Exit status 1 if a mutant survives."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "isthmus"
        skipped = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=skipped)
        for mutant in (m for m in MUTANTS if word in m.name):
            alive = survives(copy, mutant)
            print(f"{'SURVIVES' if alive else 'red':8} {mutant.name}", flush=True)
            survivors += [mutant.name] * alive
    print(f"{len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

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
TESTS = tuple(
    f"tests/bpf/test_{name}.py"
    for name in (
        "differential",
        "share",
        "isolation",
        "apply",
        "owners",
        "learned",
        "learned_live",
        "namespace_tunnels",
        "flow_limits",
        "flow_random",
        "fragment_races",
        "flow_races",
    )
)


class Mutant(NamedTuple):
    """A name, a file, and what in it becomes what."""

    name: str
    file: str
    old: str
    new: str


GATEWAY, PARSE, PATH, RULES = ("bpf/gateway.bpf.c", *(f"bpf/stages/{n}.h" for n in ("parse", "path", "rules")))
REWRITE, ERRORS, HOP = (f"bpf/stages/{n}.h" for n in ("rewrite", "icmp_error", "next_hop"))
FLOW, REVISE, MAPPING, OPEN, FIRST, SWEEP, MSS = (
    f"bpf/stages/{n}.h" for n in ("flow", "revise", "mapping", "open", "first_fragment", "sweep", "mss")
)
INDEX = "bpf/lib/index.h"
LPM = "src/isthmus/datapath/fib/lpm.py"

MUTANTS = (
    Mutant("parse: seven extension headers", PARSE, "MAX_EXTENSIONS 6", "MAX_EXTENSIONS 7"),
    Mutant("parse: source routes pass", PARSE, "if (*option == 131 || *option == 137)", "if (0)"),
    Mutant("parse: a frame with a VLAN tag is not tagged", "bpf/stages/frame.h", "if (is_vlan(eth->h_proto) || eth->h_proto ==", "if (eth->h_proto =="),
    Mutant("classify: any MAC is ours", GATEWAY, "__builtin_memcmp(eth->h_dest, in->mac, ETH_ALEN)", "0"),
    Mutant("gateway: spoofed source passes", GATEWAY, "if (find_range(own, &ip->src))", "if (0)"),
    Mutant("gateway: a namespace speaks through another segment's tunnel", "bpf/stages/namespace.h", "!hop->tunnel || hop->attachment != packet->class.attachment", "!hop->tunnel"),
    Mutant("martian: source is not asked", GATEWAY, "is_martian(ip->family, ip->src) ||", ""),
    Mutant("martian: redirects cross", PARSE, "if (type == 4 || type == 5)", "if (0)"),
    Mutant("learned: wins over an own route that is longer", "bpf/stages/learned.h", "learned->length > mine->length", "1"),
    Mutant("learned: in a bunch routes stand as they came", LPM, "((prefixes & -prefixes) - np.uint32(1)).argsort", "(prefixes == _FREE).argsort"),
    Mutant("learned: of a large bunch the begin counts", "bpf/stages/learned.h", "i >= pairs", "i >= 5"),
    Mutant("learned: of two bunches the shorter one's end counts", "bpf/stages/learned.h", "a.pairs > b.pairs ?", "a.pairs < b.pairs ?"),
    Mutant("learned: of two bunches the second says what the first does", "bpf/stages/learned.h", "other->entry = slot_in(&b)", "other->entry = slot_in(&a)"),
    Mutant("learned: the halves of a word are compared as one", "bpf/stages/learned.h", "(prefixes - 0x100000001ull)", "(prefixes - 1)"),
    Mutant("learned: a bunch does not hear of the prefix around it", LPM, "self._replace_last(leads[~nodes], values[~nodes], length)", "pass"),
    Mutant("learned: what is down carries on", PATH, "if (!route || route->down)", "if (!route)"),
    Mutant("learned: a route is up while all its hops are down", "src/isthmus/datapath/fib/groups.py", "np.isin(firsts, whole)", "np.isin(firsts, [])"),
    Mutant("learned: a shorter prefix overwrites a longer", LPM, "else now] <= length", "else now] <= 255"),
    Mutant("learned: a withdrawn prefix leaves nothing around it", "src/isthmus/datapath/learned.py", "(groups > 0).argmax(axis=1)", "(groups > 0).argmin(axis=1)"),
    Mutant("learned: what is longer is around a withdrawn prefix too", "src/isthmus/datapath/learned.py", "groups[lengths >= some.length[:, None]] = NONE", "pass"),
    Mutant("learned: prefixes too long for a bunch are put there", LPM, "searchsorted(depth + _LONGEST, \"right\")", "searchsorted(depth + 99, \"right\")"),
    Mutant("learned: a prefix as long as the way there is for a bunch", LPM, "searchsorted(depth, \"right\")", "searchsorted(depth, \"left\")"),
    Mutant("learned: siblings that say the same become one entry", LPM, "self._lengths[rows[uniform, 0]] <= depth", "True"),
    Mutant("learned: siblings become one entry of a smaller root", LPM, "any(axis=1) | more | longer)", "any(axis=1) | more)"),
    Mutant("learned: the default route comes behind what it takes over", "src/isthmus/datapath/learned.py", "if default.any():  #", "if False:  #"),
    Mutant("learned: slots stand a pair further", "bpf/stages/learned.h", "2 * bunch->pairs) + bit_places", "2 * bunch->pairs + 1) + bit_places"),
    Mutant("learned: a bit is another route's", "bpf/stages/learned.h", "EIGHT(0, 1, 48,", "EIGHT(0, 1, 49,"),
    Mutant("learned: blocks of odd sizes overlap", "src/isthmus/datapath/fib/blocks.py", "np.arange(0, _SLAB - size + 1, size)", "np.arange(0, _SLAB - size + 1, size & ~1 or 1)"),
    Mutant("learned: blocks stay of the size they were", "src/isthmus/datapath/fib/blocks.py", "self._join(other for other in SIZES if other != size)", "pass"),
    Mutant("learned: blocks are had again at once", "src/isthmus/datapath/fib/blocks.py", "            self._wait()\n", "            pass\n"),
    Mutant("learned: records are kept for ever", "src/isthmus/datapath/fib/groups.py", "return self._made >= RIPE", "return False"),
    Mutant("learned: records in use are freed", "src/isthmus/datapath/fib/groups.py", "if Used(family, group, length) not in used", "if True"),
    Mutant("learned: flows do not hear of withdrawals", "src/isthmus/datapath/learned.py", "int(default[0]))\n        self._changed()", "int(default[0]))"),
    Mutant("learned: flows keep what they saw before hops were rewritten", "src/isthmus/datapath/gateway.py", "self._epoch.flip(fresh)  #", "pass  #"),
    Mutant("learned: hops that are down are chosen", PATH, "if (hop->down < chosen_down ||", "if (chosen_down == 2 ||"),
    Mutant("path: higher metric wins", PATH, "metric > best->metric", "metric < best->metric"),
    Mutant("path: shorter prefix wins", PATH, "length < best->length ||", "length > best->length ||"),
    Mutant("path: only the first candidate", PATH, "if (first->flags & CANDIDATE_LAST) {", "if (1) {"),
    Mutant("path: the second candidate has the route of the first", PATH, "all->two >> 32 * (index & 1)", "all->two"),
    Mutant("path: lowest weight wins", PATH, "weight <= best->weight", "weight >= best->weight"),
    Mutant("path: another next hop of equal ones", PATH, "hop->down == chosen_down && weight > best", "hop->down == chosen_down && weight < best"),
    Mutant("path: prefix of a node is not asked", PATH, "return node->miss;", ";"),
    Mutant("path: gateway's address in a peer", PATH, "return route->local ? V_GATEWAY_ADDRESS : 0;", "return 0;"),
    Mutant("path: a stateful side lets in", GATEWAY, "candidate->kind == PATH_STATEFUL", "0"),
    Mutant("source: not asked", RULES, "return V_SOURCE_NOT_EXPOSED;", "return V_FORWARDED;"),
    Mutant("source: holes ignored", "src/isthmus/compile/sides.py", "cut(low, low + span, barred, unit)", "cut(low, low + span, [], unit)"),
    Mutant("rules: ports ignored", RULES, "s->sport < rule->sport_first ||", "0 ||"),
    Mutant("rules: payload read as ports", RULES, "if (s->flags & LATER) {", "if (0) {"),
    Mutant("rules: a stateful rule passes", RULES, "RULE_STATELESS ? V_FORWARDED : NEEDS_FLOW", "RULE_STATELESS ? 0 : 0"),
    Mutant("rules: index cut one off", RULES, "at.lo < cut->first.lo", "at.lo <= cut->first.lo"),
    Mutant("errors: rules not asked", ERRORS, "if (there->flags & SIDE_HAS_RULES) {", "if (0) {"),
    Mutant("errors: about another's packet", ERRORS, "!addr_equal(inner->src, ip->dst) ||", ""),
    Mutant("errors: inner checksum forgotten", REWRITE, "all += mend_transport(start, end, inner, moved ? changes : 0, port_changes);", ""),
    Mutant("translate: source and destination swapped", REWRITE, "ip, packet->src, packet->dst, changes)", "ip, packet->dst, packet->src, changes)"),
    Mutant("translate: UDP without checksum gets one", REWRITE, "if (udp && !old)", "if (0)"),
    Mutant("ttl: not lowered", REWRITE, "v4->ttl--;", ""),
    Mutant("ttl: never used up", GATEWAY, "if (ip->ttl <= 1) {", "if (0) {"),
    Mutant("mtu: not asked", GATEWAY, "wire_length(ctx, hook, ip) > out->mtu", "0"),
    Mutant("next hop: of another link", HOP, "out->link, packet->ip.family", "0, packet->ip.family"),
    Mutant("generation: always the first", "bpf/lib/packet.h", "packet->generation = packet->revision & 1;", "packet->generation = 0;"),
    Mutant("answers: one budget for all", "bpf/stages/answer.h", "answer_allowed(attachment->link)", "answer_allowed(0)"),
    Mutant("devmap: slot 0 is given out", "src/isthmus/datapath/gateway.py", "self._ports.number(port.ifindex) + 1", "self._ports.number(port.ifindex)"),
    Mutant("neighbours: outlive their link", "src/isthmus/datapath/gateway.py", "self._neighbours.forget(link)", "pass"),
    Mutant("numbers: another's while flows know them", "src/isthmus/datapath/gateway.py", "self._keep(numbers, vpcs=judge_flows)", "self._keep(numbers)"),
    Mutant("numbers: another's after a failure", "src/isthmus/datapath/gateway.py", "self._keep(self._numbers, vpcs=False)", "self._keep(self._numbers)"),
    Mutant("apply: a failure is not rolled back", "src/isthmus/datapath/gateway.py", "table.roll_back()", "pass"),
    Mutant("flow: whose packet it is, is not in the key", FLOW, "key->vpc = packet->vpc;", "key->vpc = 0;"),
    Mutant("flow: over, and still followed", INDEX, "(__s32)((__u32)life - now()) > 0", "1"),
    Mutant("flow: not judged again after a change", FLOW, "older = (__s32)(*(volatile __u32 *)&flow->epoch - packet->epoch) < 0;", "older = false;"),
    Mutant("flow: one that answers may start with a SYN", FLOW, "			return -1;", "			return bits;"),
    Mutant("flow: RST changes nothing", FLOW, "return bits | TCP_STATE_RESET;", "return bits;"),
    Mutant("flow: a SYN-ACK establishes", FLOW, "flags & TCP_ACK && bits & TCP_STATE_ANSWERED", "bits & TCP_STATE_ANSWERED"),
    Mutant("flow: silence is not counted anew", FLOW, "(__u32)(now() + flow->timeouts[is_long_lived(bits)])", "(__u32)life"),
    Mutant("flow: either end of an echo may ask", FLOW, "!(ip->flags & ECHO_REQUEST) == back", "1"),
    Mutant("flow: outlives its VPC", REVISE, " || !sender->seed || !owner->seed", ""),
    Mutant("flow: rules are not asked again", REVISE, "if (!(side->flags & SIDE_HAS_RULES))", "if (1)"),
    Mutant("flow: pool is not asked again", REVISE, "!pool_holds(here, family, &flow->keys[1].dst)", "0"),
    Mutant("flow: route of old tables", REVISE, "packet->revised[0] = way_out(packet, reference & FLOW_RECORD, slot);", "packet->revised[0] = flow->hops[0];"),
    Mutant("flow: two may have the same answers", OPEN, "found = enter_key(number, 1);", "found = 0;"),
    Mutant("flow: entered without a lock", INDEX, "!lock || !acquire(lock)", "!lock"),
    Mutant("mapping: the peer is not in its inside key", MAPPING, "packet->vpc << 16 | peer", "packet->vpc << 16"),
    Mutant("mapping: the peer is not in its outside key", MAPPING, "(packet->inside.vpc & 0xffff) * 0x10001;", "0;"),
    Mutant("mapping: an outside key may be an inside one", MAPPING, "(packet->inside.vpc & 0xffff) * 0x10001;", "packet->inside.vpc & 0xffff;"),
    Mutant("mapping: one of the other kind goes on", "bpf/stages/pool.h", "return !mapping->per_destination == !(side->flags & SIDE_PER_DESTINATION);", "return true;"),
    Mutant("mapping: always for one destination", MAPPING, "side->flags & SIDE_PER_DESTINATION", "1"),
    Mutant("mapping: own port is not tried first", MAPPING, "mapping->keys[1].sport = search->own;", "mapping->keys[1].sport = pool_port(search->side, 0);"),
    Mutant("mapping: a port is reused early", SWEEP, "return mapping->held_until && (__s32)(sweep->now - mapping->held_until) < 0 &&", "return 0 &&"),
    Mutant("mapping: held for who comes in the place of its VPC", SWEEP, "if (mapping->kind == RECORD_MAPPING && is_gone(", "if (0 && is_gone("),
    Mutant("mapping: given up while it has flows", SWEEP, "return !is_held_down(sweep, mapping) && __sync_val_compare_and_swap(&mapping->users, 0, USERS_OVER) == 0;", "return !is_held_down(sweep, mapping);"),
    Mutant("mapping: its port is given away while flows use it", SWEEP, "((struct mapping *)record)->users & ~USERS_OVER ||", ""),
    Mutant("fragments: payload read as ports", PARSE, "	if (ip->flags & LATER) {", "	if (0) {"),
    Mutant("fragments: a set has more than one lock", FIRST, "lock_for((hash >> 32) & fragment_mask);", "lock_for(hash);"),
    Mutant("fragments: over flags that were judged", PARSE, "ip->offset == 1 && !quoted", "0"),
    Mutant("fragments: follow whatever has the record now", FIRST, "version = set->places[at].version;", "version = life_of(flow_at(reference & FLOW_RECORD) ?: (struct flow *)&set->places[at]) >> 48;"),
    Mutant("fragments: allowed by rules of before", FIRST, "packet->allowed = generation == packet->revision;", "packet->allowed = 1;"),
    Mutant("errors: of a flow, ports inside not translated", ERRORS, "packet->inner_ports = (struct ports){ packet->ports.dst, packet->ports.src };", ""),
    Mutant("translate: ports not in the checksum", REWRITE, "__u64 changes = port_changes + (ip->csum", "__u64 changes = (ip->csum"),
    Mutant("mss: at an odd place", MSS, "if (at & 1)", "if (0)"),
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

"""Every problem code: how grave it is, when it is found, an example, and what to write instead.

``docs/problems.md`` is written from this: ``python -m isthmus.model.catalogue > docs/problems.md``.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One code. ``severity`` is a word, or two where it depends; ``example`` is what a user wrote."""

    code: str
    severity: str
    when: str
    example: str
    write: str


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "yaml-invalid",
        "error",
        "The file, or one document of it, is no YAML that is accepted here: a syntax error, a key that stands twice in "
        "one mapping, no UTF-8, a tag, more than 64 levels or 32 MiB, aliases that repeat too much, or nothing at all. "
        "Other documents of the file are read nevertheless.",
        "metadata: {name: web, name: db}",
        "YAML 1.2, with each key once. Large configurations go into several files of a directory.",
    ),
    Entry(
        "field-unknown",
        "error",
        "A field that its object does not have. The nearest known name is given.",
        "natTyp: stateful",
        "The name that the hint gives; `isthmus schema` has them all.",
    ),
    Entry(
        "field-missing",
        "error",
        "A field without which the object means nothing.",
        "spec: {vpc-1: {metric: 5}}",
        "The field, such as `ips`.",
    ),
    Entry(
        "field-type",
        "error",
        "Text where a number is wanted, one value where a list is, a key without a value, and so on. Nothing is "
        "converted: `yes` is text and no boolean, `5` is a number and no name.",
        "ingress:",
        "What the hint says. For a key without a value that is `[]`, `{}`, or nothing at all, which differ.",
    ),
    Entry(
        "field-value",
        "error",
        "The right type, but not a value that means something here: a VXLAN remote of another family than the "
        "Gateway's `vtep`, a BGP neighbour on no link, or twice. Or more than one object may have: the ranges of ports "
        "of a rule multiply (`srcPort` by `dstPort`, once those that touch are joined) to 1,024 pairs at most for one "
        "protocol, and the rules of a side to 16,384 in all; `nat.ports` has 1,024 ranges at most.",
        "dstPort: 70000",
        "A value in the range that the message gives; ranges of ports instead of many single ones.",
    ),
    Entry(
        "name-invalid",
        "error",
        "The name of an object, VPC or subnet is no DNS label: 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.",
        "name: Web_1",
        "Small letters, digits and `-`: `web-1`.",
    ),
    Entry(
        "kind-unknown",
        "error",
        "An object of our API whose kind does not exist.",
        "kind: Pering",
        "`Peering`, `VPC` or `Gateway`.",
    ),
    Entry(
        "kind-foreign",
        "warning",
        "An object of another API. It is passed over, so that manifests of several programs may share a file.",
        "apiVersion: apps/v1",
        "Nothing, if it is meant for another program.",
    ),
    Entry(
        "name-duplicate",
        "error",
        "Two objects of one kind have the same name. The first in file order stays, and both places are named.",
        "name: web # and again in another file",
        "Another name for one of them.",
    ),
    Entry(
        "peering-sides",
        "error",
        "A peering does not have exactly two VPCs, or has the same one twice.",
        "spec: {vpc-1: {...}, vpc-2: {...}, vpc-3: {...}}",
        "One peering for each pair.",
    ),
    Entry(
        "peering-duplicate-pair",
        "error",
        "A second peering joins two VPCs that have one. The first in file order stays, and both are named.",
        "spec: {vpc-1: {...}, vpc-2: {...}} # in two objects",
        "All that the two VPCs show each other into one peering.",
    ),
    Entry(
        "vpc-broken",
        "error",
        "A peering names a VPC whose object has errors. It is left out with the VPC: to guess would be worse.",
        "spec: {vpc-1: {...}, vpc-2: {...}} # and VPC vpc-2 has an error",
        "Mend the VPC.",
    ),
    Entry(
        "cidr-invalid",
        "error",
        "No CIDR: not an address, or a prefix length that does not exist.",
        "cidr: 10.1.0.0/33",
        "An address and a prefix length: `10.1.0.0/16`, `2001:db8::/32`. An address alone is its `/32` or `/128`.",
    ),
    Entry(
        "cidr-host-bits",
        "error",
        "A CIDR has bits set beyond its prefix length, so it may mean the network or the one address.",
        "cidr: 10.1.1.7/24",
        "The one that is meant: `10.1.1.0/24` or `10.1.1.7/32`. `--fix` picks neither.",
    ),
    Entry(
        "cidr-martian",
        "error",
        "The addresses lie wholly in space that never crosses the gateway: this network, loopback, link-local, "
        "multicast, reserved, IPv4-mapped.",
        "cidr: 127.0.0.0/8",
        "Addresses that hosts can use.",
    ),
    Entry(
        "exposure-empty",
        "error",
        "Nothing that may cross the gateway is left of a list after its `not`, or it lists no address to begin with. "
        "Of the `as` of a stateful side something has to be left in each family that its hosts use.",
        "ips: [{cidr: 10.1.0.0/24}, {not: 10.1.0.0/16}]",
        "At least one address more than is taken out.",
    ),
    Entry(
        "family-mixed",
        "error",
        "On a translated side, a family stands in `ips` and not in `as`, or the reverse.",
        "ips: [{cidr: 10.1.0.0/24}, {cidr: fd00::/64}]\nas: [192.168.1.0/24]",
        "Public addresses for the family, or a side without it.",
    ),
    Entry(
        "subnet-unknown",
        "error",
        "`fromVPCSubnet` names a subnet that the VPC does not have. The known ones are listed.",
        "ips: [{fromVPCSubnet: wep}]",
        "One of the known names, or the addresses as `cidr`.",
    ),
    Entry(
        "subnet-unattached",
        "error",
        "A subnet of a VPC lives on no attachment: none has an address in it, and there is not exactly one.",
        "subnets: {web: {cidr: 10.1.1.0/24}}\nattachments: []",
        "The gateway's address on that link: `addresses: [10.1.1.1/24]`.",
    ),
    Entry(
        "ips-overlap",
        "error",
        "On a translated side, one address stands twice in `ips`: it would have two public addresses.",
        "ips: [{cidr: 10.1.0.0/16}, {cidr: 10.1.1.0/24}]",
        "CIDRs that do not overlap.",
    ),
    Entry(
        "as-overlap",
        "error",
        "One address stands twice in `as`: it would mean two hosts.",
        "as: [192.168.1.0/24, 192.168.1.128/25]",
        "CIDRs that do not overlap.",
    ),
    Entry(
        "nat-size",
        "error",
        "Static translation, and `ips` and `as` of a family differ in size (counted before `not`). Where the short "
        "side offers a default route to a plain side, `--fix` moves `as` to that other side, and makes it stateful. "
        "Elsewhere both possible YAMLs are printed: a guess would expose or hide hosts.",
        "ips: [{cidr: 10.1.1.0/24}]\nas: [192.168.1.0/30]",
        "As many public as private addresses; or `natType: stateful` on the side whose hosts share them.",
    ),
    Entry(
        "nat-both-stateful",
        "error",
        "Both sides are stateful: only a stateful side's own hosts can start, so neither could.",
        "natType: stateful # under both VPCs",
        "`natType: stateful` on the side that starts, and no `as`, or a static one, on the other.",
    ),
    Entry(
        "nat-without-as",
        "error",
        "`natType` or `nat` on a side that has no `as` to translate to.",
        "vpc-1: {ips: [{cidr: 10.1.1.0/24}], natType: stateful}",
        "`as` and the addresses, or neither.",
    ),
    Entry(
        "pool-conflict",
        "error",
        "Stateful sides toward one VPC share addresses and differ in `nat` (ports, mapping or a timeout; what is not "
        "written is the default); or such a pool overlaps what another side shows the same VPC as something else. The "
        "first in file order stays.",
        "as: [203.0.113.0/28] # stateful here, static in another peering of the same VPC",
        "Other addresses, or the same `nat` in all that share the pool.",
    ),
    Entry(
        "attachment-conflict",
        "error",
        "Two attachments claim the same port and tag, or the same VNI on any port, or are MPLS attachments of one port "
        "with the same address. The first in file order stays. Untagged frames on the interface of the Gateway's "
        "`vtep` are tunnels, or the host's: no untagged attachment fits there, nor MPLS, whose ARP is untagged.",
        "attachments: [{interface: eth1}] # in two VPCs",
        "Another port, another tag, or another address.",
    ),
    Entry(
        "field-unsupported",
        "warning",
        "A field that is known, but that this version does not carry yet. What needs it is left out.",
        "audit: true",
        "Nothing, until a version of isthmus carries it.",
    ),
    Entry(
        "vpc-undefined",
        "warning",
        "A peering names a VPC that no object defines. It is taken to own exactly what it exposes. Told once for each "
        "VPC, with the nearest defined name, as it may be a slip.",
        "spec: {vpc-1: {...}, vcp-2: {...}}",
        "The name of a VPC object, or one more object.",
    ),
    Entry(
        "not-useless",
        "warning",
        "A `not` that removes nothing: it is outside of what the list offers, or inside another `not`.",
        "ips: [{cidr: 10.1.0.0/16}, {not: 10.2.0.0/16}]",
        "The address that was meant, or nothing.",
    ),
    Entry(
        "outside-vpc",
        "warning",
        "A side offers addresses for which its VPC, which is defined and has no BGP, has no subnet and no "
        "static route.",
        "ips: [{cidr: 10.9.0.0/16}] # of a VPC with 10.1.0.0/16 alone",
        "A route in the VPC, or fewer addresses in the peering.",
    ),
    Entry(
        "route-ambiguous",
        "warning or info",
        "Several peers offer one VPC the same addresses; which, is printed. A warning where prefix length and metric "
        "are equal, so that conversations are shared between them (ECMP); information where one of the two decides.",
        "ips: [{cidr: 10.80.0.0/16}] # by two peers of one VPC",
        "Another `metric`, other addresses, or nothing if it is meant.",
    ),
    Entry(
        "return-ambiguous",
        "warning",
        "Several VPCs that are plain or static toward one peer show it the same public addresses, and can send packets "
        "that no flow remembers: replies to one of them may reach another.",
        "ips: [{cidr: 10.80.0.0/16}] # by two peers of one VPC, without rules",
        "Different public addresses (`as`), or rules without `stateless: true`.",
    ),
    Entry(
        "local-shadow",
        "warning",
        "What a peer shows overlaps the subnets of the VPC itself, whose hosts never send that to the gateway.",
        "ips: [{cidr: 10.1.1.0/24}] # toward a VPC that has 10.1.1.0/24 itself",
        "Other public addresses (`as`), or a `not`.",
    ),
    Entry(
        "stateless-no-reply",
        "warning",
        "A stateless rule lets packets in whose replies no rule of the other side lets in. No flow remembers them, so "
        "a rule there without `stateless: true` does not help TCP or ICMP: their replies start nothing.",
        "ingress: [{allow: {stateless: true, tcp: {dstPort: 443}}}] # and nothing on the other side",
        "A rule with `srcPort: 443` on the other side, or `stateless: false`.",
    ),
    Entry(
        "stateless-starts",
        "info",
        "A stateless rule by `srcPort` alone, as replies need it, lets the VPC start conversations from there, too.",
        "ingress: [{allow: {stateless: true, tcp: {srcPort: 443}}}]",
        "Nothing, if that is meant; else `stateless: false` on the side that starts, which lets in replies only. Where "
        "the other side has no rules, or this one is stateful, replies need no rule.",
    ),
    Entry(
        "rule-dead",
        "warning",
        "A rule that can match nothing that is exposed, or of which an earlier one matches everything, or whose other "
        "side is stateful so that nothing can start toward it.",
        "ingress: [{allow: {}}, {allow: {tcp: {}}}]",
        "`src` as this VPC's hosts use it, `dst` as they dial it; the narrower rule first.",
    ),
)

_HEAD = """# Problems

What `isthmus check` finds, each with its code. An **error** leaves its object out, and the rest goes on; a **warning**
and an **info** do not. All problems of all objects are reported at once. Programs should match codes and never texts.

This page is written by `python -m isthmus.model.catalogue > docs/problems.md`.

| code | severity |
|---|---|
"""


def markdown() -> str:
    """The page of all codes."""
    rows = "".join(f"| [`{entry.code}`](#{entry.code}) | {entry.severity} |\n" for entry in ENTRIES)
    return _HEAD + rows + "".join(_section(entry) for entry in ENTRIES)


def _section(entry: Entry) -> str:
    return (
        f"\n## {entry.code}\n\n*{entry.severity}.* {entry.when}\n\n```yaml\n{entry.example}\n```\n\n"
        f"**Write:** {entry.write}\n"
    )


if __name__ == "__main__":
    print(markdown(), end="")

"""What the demonstration shows, part by part, and what must come of it: the examples of the proposal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from isthmus.lab.demo.beyond import beyond
from isthmus.lab.demo.outside import failover, transit_by_frr
from isthmus.lab.demo.servers import counter, patient, resolver, web
from isthmus.lab.demo.stage import Stage, vpc_of, within

Part = Callable[[Stage, Path], None]

_PATIENT_PORT: Final = 7000
_COUNTER_PORT: Final = 7001
_DNS_PORT: Final = "5353"
_SILENT_S: Final = 5  # more than twice as long as behind-nat.yaml's tcpTransitory
_NARROW_MTU: Final = 1300
_UPLOAD: Final = 20_000_000


def static_nat(stage: Stage, examples: Path) -> None:
    """Example 1: one port of one server, seen through static NAT."""
    stage.title("Example 1: vpc1 reaches port 443 of one server in vpc2, and is seen as 192.168.1.0/24 (XDP)")
    lab = "isthmus-demo-1"
    with stage.lab(lab, examples / "1-static-nat.yaml", "--hook", "xdp"):
        with closing(web(vpc_of(lab, "vpc2"), 443, 80)) as server:
            stage.say("vpc1's host is 10.1.1.1; a web server (plain HTTP) listens on 443 and 80 of 10.2.1.1 in vpc2")
            stage.fetch(lab, "vpc1", server, "10.2.1.1", 443, seen_as="192.168.1.1")
            stage.say("no rule allows port 80, nor ping")
            stage.fetch(lab, "vpc1", server, "10.2.1.1", 80, seen_as=None)
            stage.ping(lab, "vpc1", "10.2.1.1", "vpc2", seen_as=None)
        stage.say("all pairs of hosts and the ports that matter: what trace expects, what real sockets see")
        _probe(stage, lab, shown=True)


def transit(stage: Stage, examples: Path) -> None:
    """Example 2: two externals with almost the whole Internet each, and no translation."""
    stage.title("Example 2: transit between two externals, each with the whole Internet but for some holes (TC)")
    lab = "isthmus-demo-2"
    hole = "1.2.3.4"  # vpc-e1's `not: 1.2.3.0/24`
    with stage.lab(lab, examples / "2-external-transit.yaml", "--hook", "tc", "--host", f"vpc-e1={hole}"):
        with closing(web(vpc_of(lab, "vpc-e2"), 80)) as server, closing(web(vpc_of(lab, "vpc-e1"), 80)) as hidden:
            stage.fetch(lab, "vpc-e1", server, "1.0.1.0", 80, seen_as="1.0.0.0")
            stage.ping(lab, "vpc-e2", "1.0.0.0", "vpc-e1", seen_as="1.0.1.0")
            stage.say(f"{hole} is a host of vpc-e1 too, but under a `not`: vpc-e2 can't reach it")
            stage.fetch(lab, "vpc-e2", hidden, hole, 80, seen_as=None)
            stage.ping(lab, "vpc-e2", hole, "vpc-e1", seen_as=None)
        _probe(stage, lab)


def ambiguous(stage: Stage, examples: Path) -> None:
    """Example 3: too few public addresses; which side is meant is asked, not guessed."""
    stage.title("Example 3: a peering that can't be meant as it is written, found before it does harm, and mended")
    with tempfile.TemporaryDirectory(prefix="isthmus-demo-") as folder:
        copy = Path(folder) / "internet.yaml"
        shutil.copyfile(examples / "3-internet-ambiguous.yaml", copy)
        text = stage.isthmus("check", str(copy), status=1)
        stage.expect(
            "nat-size" in text, "check says that the addresses are too few (nat-size), and what to write instead"
        )
        stage.isthmus("check", str(copy), "--fix", shown=False)
        mended = copy.read_text()
        stage.quote(mended[mended.index("spec:") :])
        stage.isthmus("check", str(copy), shown=False)
        stage.expect("natType: stateful" in mended, "mended: `as` is on the other side now, with natType: stateful")


def two_externals(stage: Stage, examples: Path) -> None:
    """Example 4: hosts that share four addresses toward two externals, of which the lower metric is preferred."""
    stage.title("Example 4: vpc-1 shares 192.168.1.0/30 toward two externals; the lower metric wins (XDP)")
    lab, pool = "isthmus-demo-4", "192.168.1.0/30"
    both, second_only = "8.8.8.8", "1.2.3.1"
    hosts = [f"vpc-e1={both}", f"vpc-e2={both}", f"vpc-e2={second_only}"]
    options = [word for host in hosts for word in ("--host", host)]
    with stage.lab(lab, examples / "4-two-externals-by-metric.yaml", "--hook", "xdp", *options):
        vpc_1, e1, e2 = (vpc_of(lab, name) for name in ("vpc-1", "vpc-e1", "vpc-e2"))
        with closing(web(vpc_1, 80)) as hidden, closing(web(e1, 80)) as first, closing(web(e2, 80)) as second:
            stage.say(f"both externals have {both}, and vpc-e1 is preferred; only vpc-e2 offers {second_only}")
            stage.fetch(lab, "vpc-1", first, both, 80, seen_as=pool)
            stage.expect(not second.seen, "vpc-e2 saw nothing of it")
            stage.fetch(lab, "vpc-1", second, second_only, 80, seen_as=pool)
            stage.say("nobody can start toward the pool, also not toward an address in use")
            stage.fetch(lab, "vpc-e1", hidden, first.seen[0].source if first.seen else "192.168.1.1", 80, seen_as=None)
        stage.ping(lab, "vpc-1", both, "vpc-e1", seen_as=pool)
        _resolve(stage, lab, "vpc-1", both, "vpc-e1", pool)
        _route(stage, lab, "vpc-1", both, hops=2)
        stage.say("what the gateway remembers of all this, and what of the pool is in use")
        text = stage.isthmus("flows", "--name", lab, "--pools")
        stage.expect(f"> {both}:53" in text, "the questions about the name are among them")
        _probe(stage, lab)


def behind_nat(stage: Stage, _: Path) -> None:
    """Two tenants with the same addresses behind the same public address, and what troubles a NAT."""
    stage.title("Behind NAT: two tenants that are both 10.1.1.0/24 share the address 192.0.2.1 toward an ISP (TC)")
    lab, pool, server = "isthmus-demo-nat", "192.0.2.1", "8.8.8.8"
    objects = Path(__file__).with_name("behind-nat.yaml")
    with stage.lab(lab, objects, "--hook", "tc", "--host", f"isp={server}"):
        isp = vpc_of(lab, "isp")
        with closing(web(isp, 80)) as pages, closing(patient(isp, _PATIENT_PORT)):
            stage.say("a connection that will be silent for longer than one that is being set up may be (2 s)")
            with stage.client(lab, "red", "wait", server, str(_PATIENT_PORT), str(_SILENT_S)):
                stage.say("meanwhile: both tenants' hosts are 10.1.1.1")
                for tenant in ("red", "blue"):
                    stage.fetch(lab, tenant, pages, server, 80, seen_as=pool)
                _same_port(stage, lab, server, pool)
                _narrow(stage, lab)
        stage.isthmus("flows", "--name", lab, "--pools")
        stage.isthmus("flows", "clear", "from=blue", "--name", lab)
        text = stage.isthmus("flows", "vpc=blue", "--name", lab)
        stage.expect(text.startswith("0 conversations"), "nothing is remembered of blue")
        _probe(stage, lab)


def overlap(stage: Stage, examples: Path) -> None:
    """Example 5: two VPCs with the same addresses, on both hooks."""
    for hook in ("xdp", "tc"):
        stage.title(f"Example 5: vpc-1 and vpc-2 both use 10.1.1.0/24 ({hook.upper()})")
        lab = f"isthmus-demo-5-{hook}"
        with stage.lab(lab, examples / "5-overlapping-subnets.yaml", "--hook", hook, "--host", "vpc-1=10.1.1.42"):
            with closing(web(vpc_of(lab, "vpc-2"), 80)) as server, closing(web(vpc_of(lab, "vpc-1"), 80)) as other:
                stage.say("both hosts are 10.1.1.1; each dials the other by its public address")
                stage.ping(lab, "vpc-1", "192.168.2.1", "vpc-2", seen_as="192.168.1.1")
                stage.ping(lab, "vpc-2", "192.168.1.1", "vpc-1", seen_as="192.168.2.1")
                stage.fetch(lab, "vpc-1", server, "192.168.2.1", 80, seen_as="192.168.1.1")
                stage.fetch(lab, "vpc-2", other, "192.168.1.1", 80, seen_as="192.168.2.1")
                stage.say("10.1.1.42 of vpc-1 is under a `not`: a hole, not a shift of those behind it")
                stage.ping(lab, "vpc-2", "192.168.1.42", "vpc-1", seen_as=None)
            _probe(stage, lab)


def _resolve(stage: Stage, lab: str, vpc: str, server: str, witness: str, seen_as: str) -> None:
    """A and AAAA from one socket: both are needed, and the server must see both come from one address and port."""
    stage.say("a name is looked up as programs do: A and AAAA, from one socket")
    with closing(resolver(vpc_of(lab, witness), server)) as dns:
        status, said = stage.run_client(lab, vpc, "resolve", "www.example.com", server)
    ends = {(visit.source, visit.port) for visit in dns.seen}
    met = status == 0 and len(ends) == 1 and all(within(visit.source, seen_as) for visit in dns.seen)
    stage.expect(met, f"{witness} was asked {' and '.join(map(str, dns.seen)) or 'nothing'}; {said}")


def _route(stage: Stage, lab: str, vpc: str, address: str, hops: int) -> None:
    """Every hop must tell that it is there, the last of them that it is the one."""
    status, said = stage.run_client(lab, vpc, "route", address)
    stage.quote(said)
    lines = said.splitlines()
    met = status == 0 and len(lines) == hops and "*" not in said and lines[-1].split()[1] == address
    stage.expect(met, f"{hops} hops, each of which {vpc}'s host has heard of")


def _same_port(stage: Stage, lab: str, server: str, seen_as: str) -> None:
    """Both tenants ask the same from the same address and port, at once; each hears its own answer."""
    stage.say("both look up a name at once, from the same address and the same port")
    words = ("resolve", "www.example.com", server, _DNS_PORT)
    with closing(resolver(vpc_of(lab, "isp"), server)) as dns, stage.client(lab, "red", *words):
        status, said = stage.run_client(lab, "blue", *words)
        stage.expect(status == 0, said)
    ends = {(visit.source, visit.port) for visit in dns.seen}
    met = len(ends) == 2 and all(within(source, seen_as) for source, _ in ends)
    stage.expect(met, f"isp saw them as {' and '.join(f'{source}:{port}' for source, port in sorted(ends))}")


def _narrow(stage: Stage, lab: str) -> None:
    """What a link far away does not take: its senders must learn what it takes, from a router that sees the pool."""
    far = "198.51.100.8"
    stage.say(f"{far} lies behind the ISP's router, over a link that takes packets of {_NARROW_MTU} bytes")
    with beyond(lab, "isp", far, _NARROW_MTU) as namespace:
        _route(stage, lab, "blue", far, hops=3)
        status, answer = stage.on(lab, "blue", "ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", far)
        said = next((line for line in answer.splitlines() if "mtu" in line.lower()), "nothing")
        stage.expect(status != 0 and f"mtu = {_NARROW_MTU}" in said, f"blue's host heard: {said}")
        with closing(counter(vpc_of(lab, "isp"), _COUNTER_PORT, namespace=namespace)):
            status, said = stage.run_client(lab, "red", "upload", far, str(_COUNTER_PORT), str(_UPLOAD))
            stage.expect(status == 0 and said.endswith(f"of {_NARROW_MTU}"), said)


def _probe(stage: Stage, lab: str, *, shown: bool = False) -> None:
    text = stage.isthmus("lab", "probe", "--name", lab, shown=shown)
    stage.expect(text.endswith(", 0 not"), text.rpartition("\n")[2])


PARTS: Final[dict[str, Part]] = {
    "1": static_nat,
    "2": transit,
    "3": ambiguous,
    "4": two_externals,
    "5": overlap,
    "nat": behind_nat,
    "bgp": failover,
    "frr": transit_by_frr,
}
"""By the number of the example; the others have objects of their own."""

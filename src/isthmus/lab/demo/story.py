"""What the demonstration shows, part by part, and what must come of it: the examples of the proposal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from isthmus.lab.demo.stage import Server, Stage

Part = Callable[[Stage, Path], None]


def static_nat(stage: Stage, examples: Path) -> None:
    """Example 1: one port of one server, seen through static NAT."""
    stage.title("Example 1: vpc1 reaches port 443 of one server in vpc2, and is seen as 192.168.1.0/24 (XDP)")
    lab = "isthmus-demo-1"
    with stage.lab(lab, examples / "1-static-nat.yaml", "--hook", "xdp"):
        with closing(Server(lab, "vpc2", (443, 80))) as server:
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
        with closing(Server(lab, "vpc-e2", (80,))) as server, closing(Server(lab, "vpc-e1", (80,))) as hidden:
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


def overlap(stage: Stage, examples: Path) -> None:
    """Example 5: two VPCs with the same addresses, on both hooks."""
    for hook in ("xdp", "tc"):
        stage.title(f"Example 5: vpc-1 and vpc-2 both use 10.1.1.0/24 ({hook.upper()})")
        lab = f"isthmus-demo-5-{hook}"
        with stage.lab(lab, examples / "5-overlapping-subnets.yaml", "--hook", hook, "--host", "vpc-1=10.1.1.42"):
            with closing(Server(lab, "vpc-2", (80,))) as server, closing(Server(lab, "vpc-1", (80,))) as other:
                stage.say("both hosts are 10.1.1.1; each dials the other by its public address")
                stage.ping(lab, "vpc-1", "192.168.2.1", "vpc-2", seen_as="192.168.1.1")
                stage.ping(lab, "vpc-2", "192.168.1.1", "vpc-1", seen_as="192.168.2.1")
                stage.fetch(lab, "vpc-1", server, "192.168.2.1", 80, seen_as="192.168.1.1")
                stage.fetch(lab, "vpc-2", other, "192.168.1.1", 80, seen_as="192.168.2.1")
                stage.say("10.1.1.42 of vpc-1 is under a `not`: a hole, not a shift of those behind it")
                stage.ping(lab, "vpc-2", "192.168.1.42", "vpc-1", seen_as=None)
            _probe(stage, lab)


def _probe(stage: Stage, lab: str, *, shown: bool = False) -> None:
    text = stage.isthmus("lab", "probe", "--name", lab, shown=shown)
    stage.expect(text.endswith(", 0 not"), text.rpartition("\n")[2])


PARTS: Final[dict[str, Part]] = {"1": static_nat, "2": transit, "3": ambiguous, "5": overlap}
"""By the number of the example."""

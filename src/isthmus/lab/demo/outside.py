"""The parts of the demonstration in which externals speak BGP: examples 2 and 4 of the proposal, complete."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from isthmus.lab.demo.servers import web
from isthmus.lab.demo.stage import Stage, vpc_of
from isthmus.lab.externals import cables
from isthmus.lab.state import State

EXTERNALS: Final = Path(__file__).with_name("externals.yaml")
ROUTES: Final = 3000
"""That each external tells, beside a default route and those that are spoken of."""

_POOL: Final = "192.168.1.0/30"


def failover(stage: Stage, examples: Path) -> None:
    """Example 4 with two externals that speak BGP, of which one is cut off."""
    stage.title("Example 4, complete: two externals by BGP (BIRD), on a VLAN and in QinQ; then a cable is pulled (XDP)")
    lab, both = "isthmus-demo-bgp", "8.8.8.8"
    with told(both) as files:
        options = [word for vpc in ("vpc-e1", "vpc-e2") for word in ("--host", f"{vpc}={both}")]
        options += [word for vpc, file in files.items() for word in ("--routes", f"{vpc}={file}")]
        with stage.lab(lab, EXTERNALS, str(examples / "4-two-externals-by-metric.yaml"), "--hook", "xdp", *options):
            stage.isthmus("neighbors", "--name", lab)
            stage.isthmus("routes", "vpc-e1", both, "--name", lab)
            first, second = web(vpc_of(lab, "vpc-e1"), 80), web(vpc_of(lab, "vpc-e2"), 80)
            with closing(first), closing(second):
                stage.say(f"both externals tell of the network of {both} with the same MED; vpc-e2's side adds 10")
                stage.fetch(lab, "vpc-1", first, both, 80, seen_as=_POOL)
                stage.expect(not second.seen, "vpc-e2 saw nothing of it")
                stage.say("the cable of vpc-e1 is pulled")
                cables.pull(State(lab).objects().plan, "eth2")
                stage.fetch(lab, "vpc-1", second, both, 80, seen_as=_POOL)
                stage.isthmus("neighbors", "--name", lab, status=1)
                stage.say("and plugged in again")
                cables.plug(State(lab).objects().plan, "eth2")
                stage.until(lambda: _learned(stage, lab) == 2, 15)
                stage.fetch(lab, "vpc-1", first, both, 80, seen_as=_POOL)


def transit_by_frr(stage: Stage, examples: Path) -> None:
    """Example 2 with two externals that are played by FRR: each is told what the other tells."""
    stage.title("Example 2, complete: transit between two externals by BGP (FRR), each is told the other's routes (TC)")
    lab = "isthmus-demo-frr"
    with told("8.8.8.8") as files:
        options = [word for vpc, file in files.items() for word in ("--routes", f"{vpc}={file}")]
        options += ["--bgp", "frr", "--host", "vpc-e2=100.65.1.1"]
        with stage.lab(lab, EXTERNALS, str(examples / "2-external-transit.yaml"), "--hook", "tc", *options):
            text = stage.isthmus("neighbors", "--name", lab)
            stage.expect(text.count("established") == 2, "both sessions are up")
            with closing(web(vpc_of(lab, "vpc-e2"), 80)) as server:
                stage.fetch(lab, "vpc-e1", server, "100.65.1.1", 80, seen_as="1.0.0.0")


def _learned(stage: Stage, lab: str) -> int:
    """How many externals have told all."""
    rows = json.loads(stage.quiet("neighbors", "--name", lab, "-o", "json") or "{}").get("neighbors", ())
    return sum(row["routes"] > ROUTES for row in rows)


@contextmanager
def told(both: str) -> Iterator[dict[str, Path]]:
    """Files of what the externals tell: some thousand routes each, and the network of ``both``."""
    with tempfile.TemporaryDirectory(prefix="isthmus-demo-") as folder:
        files = {}
        for number, vpc in enumerate(("vpc-e1", "vpc-e2")):
            lines = [f"100.{64 + number}.{n // 250}.{n % 250}/32 med {n % 5} path 65010" for n in range(ROUTES)]
            lines.append(f"{both.rpartition('.')[0]}.0/24 med 5 path 65010 65011")
            files[vpc] = Path(folder) / f"{vpc}.routes"
            files[vpc].write_text("\n".join(lines))
        yield files

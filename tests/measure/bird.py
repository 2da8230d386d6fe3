"""A BIRD of one's own in a network namespace of one's own, for tests and measurements of our BGP.

N: lo 127/8, near (10.9.0.1/24, fd09::1/64), over which next hops 10.9.0.2.. and fd09::2.. resolve
   BIRD on 127.0.0.1:179 <── feed, from 127.1.0.1 (ours)
                         <── external 1, 2.., from 127.2.0.1, 127.2.0.2.. of AS 65001, 65002..
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute, netns

from isthmus.datapath.netns import inside

ASN: Final = 65000
ROUTER_ID: Final = 0x0A090001
PATIENCE_S: Final = 10.0

_HEAD: Final = """\
log "{folder}/log" all;
router id 10.9.0.1;
protocol device {{ }}
protocol direct {{ ipv4; ipv6; }}
template bgp any {{ local 127.0.0.1 as 65000; strict bind yes; multihop; passive on; error wait time 1,2; }}
protocol bgp feed from any {{
  neighbor 127.1.0.1 as 65000; rr client; hold time 30; enable extended messages yes; {options}
  ipv4 {{ add paths on; next hop keep; preference 200; import all; export where source = RTS_BGP && proto != "feed"; }};
  ipv6 {{ add paths on; next hop keep; preference 200; import all; export where source = RTS_BGP && proto != "feed"; }};
}}
"""
_EXTERNAL: Final = """\
protocol bgp external{number} from any {{
  neighbor 127.2.0.{number} as {asn};
  ipv4 {{ import all; export where proto = "feed"; }};
  ipv6 {{ import all; export where proto = "feed"; }};
}}
"""


@dataclass(frozen=True, slots=True)
class Bird:
    """One that runs."""

    name: str
    folder: Path
    pid: int

    def connect(self, source: str, *, blocking: bool = False) -> socket.socket:
        """A connection to it from an address of the loopback; a non-blocking one may be still under way."""
        with inside(self.name):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        made.bind((source, 0))
        made.setblocking(blocking)
        if blocking:
            made.settimeout(PATIENCE_S)
            wait_for(lambda: made.connect_ex(("127.0.0.1", 179)) == 0)  # it may be about to listen
        else:
            made.connect_ex(("127.0.0.1", 179))
        return made

    def ask(self, *words: str) -> str:
        """What birdc answers."""
        command = ["birdc", "-r", "-s", str(self.folder / "ctl"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout

    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    def memory(self) -> int:
        """Its resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        return cpu(self.pid)


def cpu(pid: int) -> float:
    """The seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bird(name: str, folder: Path, *, externals: int = 0, options: str = "") -> Iterator[Bird]:
    """A BIRD in a new namespace ``name``; both end with the block. ``options``: of its feed to us."""
    text = _HEAD.format(folder=folder, options=options)
    text += "".join(_EXTERNAL.format(number=one, asn=ASN + one) for one in range(1, externals + 1))
    (folder / "bird.conf").write_text(text)
    netns.create(name)
    try:
        with inside(name):
            _links()
            command = ["bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "ctl")]
            errors = (folder / "errors").open("w")
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        try:
            wait_for(lambda: (folder / "ctl").exists() or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError((folder / "errors").read_text())
            yield Bird(name, folder, process.pid)
        finally:
            process.kill()
            process.wait()
    finally:
        netns.remove(name)


def _links() -> None:
    with closing(IPRoute()) as netlink:
        netlink.link("add", ifname="near", kind="veth", peer={"ifname": "far"})
        for link in ("lo", "far", "near"):
            netlink.link("set", index=netlink.link_lookup(ifname=link)[0], state="up")
        near = netlink.link_lookup(ifname="near")[0]
        netlink.addr("add", index=near, address="10.9.0.1", prefixlen=24)
        netlink.addr("add", index=near, address="fd09::1", prefixlen=64, flags=2)  # IFA_F_NODAD


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Until it holds; TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to pass")
        time.sleep(0.01)

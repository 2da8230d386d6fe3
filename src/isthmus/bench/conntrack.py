"""The kernel's connection tracking, made large enough that it is not what is measured.

Its hash table and the limit of entries are one for all namespaces, so ``room`` puts them back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from pyroute2 import NFCTSocket

from isthmus.bench import BenchError
from isthmus.bench.topology import write_sysctl
from isthmus.datapath.netns import inside

_BUCKETS: Final = Path("/sys/module/nf_conntrack/parameters/hashsize")
_LIMIT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_max")
_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_KEPT: Final = 86_400  # seconds
_TIMEOUTS: Final = ("udp_timeout", "udp_timeout_stream")


@contextmanager
def room(flows: int) -> Iterator[None]:
    """Let the kernel track so many flows at once: two buckets for each (it has a key for each direction), and a limit
    far enough from their number that it never looks for some to give up.

    Raises ``BenchError`` where it may not be set."""
    with ExitStack() as undo:
        for setting, least in ((_BUCKETS, 2 * flows), (_LIMIT, 4 * flows)):
            before = int(setting.read_text())
            if before >= least:
                continue
            try:
                setting.write_text(str(least))
            except OSError as error:
                raise BenchError(
                    f"{setting} is {before}, and {flows} flows need {least}, but it can not be set here "
                    f"({error.strerror}): run the bench in the machine's own network namespace, or set it there"
                ) from error
            undo.callback(setting.write_text, str(before))
        yield


def remember(namespace: str) -> None:
    """Make the namespace keep silent UDP flows for as long as any bench runs."""
    for name in _TIMEOUTS:
        write_sysctl(namespace, f"netfilter/nf_conntrack_{name}", _KEPT)


def tracked(namespace: str) -> int:
    """How many flows the namespace tracks."""
    with inside(namespace):
        return int(_COUNT.read_text())


def flush(namespace: str) -> None:
    """End all flows of the namespace (what ``conntrack -F`` does)."""
    with inside(namespace), NFCTSocket() as kernel:
        kernel.flush()

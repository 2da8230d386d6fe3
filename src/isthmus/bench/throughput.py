"""One TCP stream through a gateway: iperf3 between two hosts, with the large packets (GSO) that a kernel gives to TC.

Client, server and gateway share one CPU, so that nobody waits for another's: over two, the same stream was measured
anywhere between 8 and 21 Gb/s, as queues between the CPUs happened to overflow; on one, within 10 %.

    NAME-source               NAME-gateway              NAME-sink
      HOST ------veth------ in          out ------veth------ DIALLED, or what it is translated to
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from typing import Final, Protocol

from isthmus.bench import BenchError
from isthmus.bench.baselines import forward
from isthmus.bench.configuration import PRIVATE, public_network
from isthmus.bench.topology import Topology, add_host
from isthmus.datapath.netns import inside

HOST: Final = PRIVATE[10]  # the client's address
DIALLED: Final = public_network(2)[10]  # the server's, as the client dials it
PORT: Final = 5201

_GRACE: Final = 10  # seconds beyond its running time after which iperf3 is taken to hang


class TcpSubject(Protocol):
    """Forwards TCP between ``HOST`` behind the input, and the server behind the output."""

    @property
    def name(self) -> str:
        """As the bench's rows name it."""

    @property
    def server(self) -> IPv4Address:
        """The server's own address: what the subject makes of ``DIALLED``."""

    def prepare(self, topology: Topology) -> None:
        """Make the gateway of this topology forward. Raises ``BenchError`` where it can not."""

    def close(self) -> None:
        """Let go of what ``prepare`` took, but for what ends with the namespaces."""


class KernelForwardTcp:
    """The kernel's IPv4 forwarding; addresses stay as they are."""

    name = "kernel-forward"
    server = DIALLED

    def prepare(self, topology: Topology) -> None:
        """Switch it on, with veths as the kernel makes them: large packets come whole, so GRO would only cost."""
        forward(topology, [public_network(2)], gro=False)

    def close(self) -> None:
        """Nothing outlives the namespaces."""


class Stream:
    """A subject between two hosts."""

    def __init__(self, subject: TcpSubject, stack: ExitStack) -> None:
        """Build it all; ``stack`` takes what is to be undone. Raises ``BenchError`` where the subject can not."""
        self.name = subject.name
        self._topology = stack.enter_context(Topology(f"tcp-{subject.name}"))
        add_host(self._topology.source_port, HOST, self._topology.input)
        add_host(self._topology.sink_port, subject.server, self._topology.output)
        stack.callback(subject.close)
        subject.prepare(self._topology)

    def rate(self, seconds: int, cpu: int) -> float:
        """Run one stream for whole seconds, 1 or more, all of it on one CPU; bits a second that the server received.

        Raises ``BenchError`` where iperf3 is missing, fails, or does not end."""
        client = ["iperf3", "-c", str(DIALLED), "-p", str(PORT), "-t", str(seconds), "-J"]
        client += ["--connect-timeout", "2000", "-A", f"{cpu},{cpu}"]
        with self._server(), inside(self._topology.source):
            try:
                done = subprocess.run(client, capture_output=True, text=True, timeout=seconds + _GRACE, check=False)
            except subprocess.TimeoutExpired as error:
                raise BenchError(f"{self.name}: iperf3 did not end within {seconds + _GRACE} s") from error
        try:
            report = json.loads(done.stdout)
            return float(report["end"]["sum_received"]["bits_per_second"])
        except (ValueError, KeyError) as error:
            said = done.stderr.strip() or done.stdout.strip()[-500:]
            raise BenchError(f"{self.name}: iperf3 measured nothing: {said}") from error

    @contextmanager
    def _server(self) -> Iterator[None]:
        """A server that listens, for one client; ended in any case."""
        command = ["iperf3", "-s", "-1", "-p", str(PORT), "--forceflush", "--idle-timeout", "30"]
        with inside(self._topology.sink):
            try:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            except FileNotFoundError as error:
                raise BenchError("tcp-tc needs the program iperf3 (Debian: apt install iperf3)") from error
        with process:
            try:
                assert process.stdout is not None  # it was asked for
                if not any("listening" in line for line in process.stdout):
                    raise BenchError(f"{self.name}: the iperf3 server ended before it listened")
                yield
            finally:
                process.terminate()

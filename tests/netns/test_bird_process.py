"""BIRD's process: started in a namespace, taken over, reconfigured, and missed when it is gone."""

import os
import select
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from isthmus.datapath.netns import inside
from isthmus.routing.bird.config import bird_config
from isthmus.routing.bird.control import Control, ControlError, Watch
from isthmus.routing.bird.process import Daemon, DaemonError
from isthmus.routing.bird.speaker import Neighbor, Speaker
from isthmus.routing.bird.status import State
from tests.netns.bgp_peers import until

NAMESPACE = "isthmus-test-bird"
FAR = Neighbor(ip_address("198.51.100.1"), 65001, password="secret", multihop=True)
TEXT = bird_config(Speaker(65000, IPv4Address("10.0.0.1"), (FAR,)))


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
    with inside(NAMESPACE):
        yield
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "bird", TEXT)
    yield daemon
    with suppress(OSError):  # a test may have ended or left it
        daemon.stop()


def test_it_runs_in_the_namespace_and_its_configuration_is_secret(daemon: Daemon) -> None:
    theirs = os.stat(f"/proc/{daemon.pid}/ns/net").st_ino
    assert theirs == os.stat(f"/run/netns/{NAMESPACE}").st_ino
    assert os.getpgid(daemon.pid) == daemon.pid
    assert stat.S_IMODE((daemon.directory / "bird.conf").stat().st_mode) == 0o600
    assert daemon.control.neighbors()[FAR.name].state is not State.ESTABLISHED


def test_one_that_runs_is_taken_over(daemon: Daemon) -> None:
    pid = daemon.pid
    daemon.detach()
    again = Daemon(daemon.directory, TEXT)
    assert again.pid == pid
    again.stop()
    assert not Path(f"/proc/{pid}/fd").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_configuration_that_is_refused_changes_nothing(daemon: Daemon) -> None:
    with pytest.raises(DaemonError, match="syntax error"):
        daemon.reconfigure("nonsense")
    assert (daemon.directory / "bird.conf").read_text() == TEXT
    assert FAR.name in daemon.control.neighbors()
    daemon.reconfigure(bird_config(Speaker(65000, IPv4Address("10.0.0.1"))))
    until("the neighbour is gone", lambda: not daemon.control.neighbors())


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="syntax error"):
        Daemon(tmp_path / "bird", "nonsense")


def test_a_crash_is_noticed_and_it_can_be_started_again(daemon: Daemon) -> None:
    watch = Watch(daemon.control_socket)
    assert daemon.alive()
    signal.pidfd_send_signal(daemon.fileno(), signal.SIGKILL)
    assert select.select([daemon], [], [], 5)[0]
    assert not daemon.alive()
    assert list(watch.changes()) == []
    assert watch.ended
    with pytest.raises(ControlError):
        daemon.control.ask("show status")
    daemon.restart(TEXT)
    assert daemon.alive()
    watch.close()


def test_a_command_that_bird_does_not_know_is_an_error_with_its_code(daemon: Daemon) -> None:
    control = Control(daemon.control_socket)
    with pytest.raises(ControlError, match="syntax error") as refused:
        control.ask("show nonsense")
    assert refused.value.code == 9001
    assert control.ask("show status")[-1].text == "Daemon is up and running"
    with pytest.raises(ValueError, match="one line"):
        control.ask("show status\ndown")
    control.close()

"""What all tests share: which of them need root or the kernel, and what is said where these lack."""

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS_BY_FOLDER = {HERE / "netns": "netns", HERE / "bpf": "bpf"}
BPF_MAP_TYPE_ARRAY = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a folder of NEEDS_BY_FOLDER carry its marker, so that none can forget it."""
    for item in items:
        for folder, marker in NEEDS_BY_FOLDER.items():
            if folder in item.path.parents:
                item.add_marker(marker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where a need is not met: skip with its reason, but fail in CI, where it is known to be there."""
    for marker, lack in (("netns", lack_for_netns), ("bpf", lack_for_bpf)):
        if item.get_closest_marker(marker) and (reason := lack()):
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason} (with CI=true this fails rather than skips)", pytrace=False)
            pytest.skip(reason)


@cache
def lack_for_netns() -> str:
    """Why no gateway can be built of network namespaces here; empty if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    veth = ["unshare", "--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"]
    try:
        done = subprocess.run(veth, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        return f"network namespaces need the program {missing.filename}"
    return f"no veth pair in a new network namespace: {done.stderr.strip()}" if done.returncode else ""


@cache
def lack_for_bpf() -> str:
    """Why no packet program can be loaded here; empty if one can."""
    if os.geteuid() != 0:
        return "BPF needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "BPF needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF)"
    try:
        libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as missing:
        return f"BPF needs libbpf: {missing}"
    key_bytes, value_bytes, entries = 4, 8, 1
    fd: int = libbpf.bpf_map_create(BPF_MAP_TYPE_ARRAY, b"probe", key_bytes, value_bytes, entries, None)
    if fd < 0:
        return f"the kernel refuses a BPF map: {os.strerror(-fd)}"
    os.close(fd)
    return ""

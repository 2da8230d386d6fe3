"""Links: where a program is attached, for as long as somebody holds the link."""

from __future__ import annotations

import os
from ctypes import byref, sizeof
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from isthmus.datapath.libbpf import abi
from isthmus.datapath.libbpf.program import BpfProgram


class BpfLink:
    """A program attached somewhere, for as long as this link is open (or pinned). A context manager that detaches."""

    def __init__(self, fd: int, what: str) -> None:
        self.fd = fd
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, prog: BpfProgram) -> None:
        """Put another program in the place of the attached one, with no packet in between unseen."""
        if abi.library().bpf_link_update(self.fd, prog.fd, None) < 0:
            raise abi.failure(f"replace {self._what} by {prog.name}")

    def pin(self, path: Path) -> None:
        """Keep the program attached under ``path``, in a bpffs, after this process is gone."""
        if abi.library().bpf_obj_pin(self.fd, os.fsencode(path)) < 0:
            raise abi.failure(f"pin {self._what} at {path}")

    def close(self) -> None:
        """Detach, unless the link is pinned."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _attach(prog: BpfProgram, ifindex: int, attach_type: int, flags: int, where: str) -> BpfLink:
    options = abi.LinkCreateOptions(sz=sizeof(abi.LinkCreateOptions), flags=flags)
    fd = int(abi.library().bpf_link_create(prog.fd, ifindex, attach_type, byref(options)))
    if fd < 0:
        raise abi.failure(f"attach {prog.name} to {where} of interface {ifindex}")
    return BpfLink(fd, f"{prog.name} at {where} of interface {ifindex}")


def attach_xdp(prog: BpfProgram, ifindex: int, mode: Literal["native", "generic"] = "native") -> BpfLink:
    """Attach an XDP program to an interface of the caller's network namespace.

    Raises ``BpfError``: EBUSY where another program is attached, EOPNOTSUPP where the driver has no native XDP."""
    return _attach(prog, ifindex, abi.XDP_ATTACH, abi.XDP_FLAGS[mode], f"XDP ({mode})")


def attach_tcx(prog: BpfProgram, ifindex: int) -> BpfLink:
    """Attach a TC program (section ``tc``) to the ingress of an interface of the caller's network namespace.

    Raises ``BpfError`` with EINVAL on kernels before 6.6, which have no tcx."""
    return _attach(prog, ifindex, abi.TCX_INGRESS_ATTACH, 0, "tcx ingress")


def attach_raw_tracepoint(prog: BpfProgram, tracepoint: str | None) -> BpfLink:
    """Attach a program of section ``raw_tp`` to a tracepoint such as ``xdp_devmap_xmit``; None for one of section
    ``tp_btf``, which knows its own. Tracepoints see all network namespaces."""
    name = None if tracepoint is None else tracepoint.encode()
    fd = int(abi.library().bpf_raw_tracepoint_open(name, prog.fd))
    if fd < 0:
        raise abi.failure(f"attach {prog.name} to tracepoint {tracepoint or '(its own)'}")
    return BpfLink(fd, f"{prog.name} at tracepoint {tracepoint or '(its own)'}")

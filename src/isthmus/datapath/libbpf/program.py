"""Programs: run on one packet offline, or on live frames."""

from __future__ import annotations

import ctypes
from ctypes import byref, sizeof, string_at
from typing import Final, NamedTuple

from isthmus.datapath.libbpf import abi

_PACKET_BYTES: Final = 1 << 17  # the output of a test run: the largest packet, and head room that a program may add
_CONTEXT_BYTES: Final = 512  # more than struct xdp_md and struct __sk_buff


class TestRun(NamedTuple):
    """What a program did with one packet."""

    retval: int  # the verdict as an unsigned 32-bit number: TC_ACT_UNSPEC (-1) is 0xffffffff
    data_out: bytes
    ctx_out: bytes  # empty unless a context went in
    duration_ns: int  # mean of the repetitions


class BpfProgram:
    """One loaded program. ``test_run`` reuses its buffers, so one program object serves one thread."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self._out = ctypes.create_string_buffer(_PACKET_BYTES)
        self._out_address = ctypes.addressof(self._out)
        self._context_out = ctypes.create_string_buffer(_CONTEXT_BYTES)
        self._context_out_address = ctypes.addressof(self._context_out)
        self._options = abi.TestRunOptions(sz=sizeof(abi.TestRunOptions))
        self._options_reference = byref(self._options)

    def test_run(
        self, data: bytes, *, ctx: bytes | None = None, repeat: int = 1, out_size: int | None = None
    ) -> TestRun:
        """Run the program on one packet (14 bytes or more), offline: nothing is sent.

        ``ctx`` is a ``struct xdp_md`` (whose ``data_end`` is the packet's length) or a ``struct __sk_buff``.
        ``out_size`` bounds what is read back, in bytes; 0 reads no packet. With ``repeat`` the program sees its own
        output again.
        Raises ``BpfError``: EINVAL for a context that the kernel does not take, ENOSPC when ``out_size`` is too
        small."""
        options = self._options
        options.data_in = data
        options.data_size_in = len(data)
        size = _PACKET_BYTES if out_size is None else min(out_size, _PACKET_BYTES)
        options.data_out = self._out_address if size else None
        options.data_size_out = size
        options.repeat = repeat
        options.flags = 0
        options.batch_size = 0
        if ctx is None:
            options.ctx_in = None
            options.ctx_out = None
            options.ctx_size_in = options.ctx_size_out = 0
        else:
            options.ctx_in = ctx
            options.ctx_out = self._context_out_address
            options.ctx_size_in = options.ctx_size_out = len(ctx)
        if abi.library().bpf_prog_test_run_opts(self.fd, self._options_reference) < 0:
            raise abi.failure(f"run program {self.name} on a packet of {len(data)} bytes")
        return TestRun(
            options.retval,
            string_at(self._out_address, options.data_size_out) if size else b"",
            b"" if ctx is None else string_at(self._context_out_address, options.ctx_size_out),
            options.duration,
        )

    def run_syscall(self, ctx: bytes) -> bytes:
        """Run a program of section "syscall" on its context struct; the context as the program left it.

        Raises ``BpfError`` where the program does not return 0."""
        context = ctypes.create_string_buffer(ctx, len(ctx))
        options = abi.TestRunOptions(sz=sizeof(abi.TestRunOptions), ctx_size_in=len(ctx))
        options.ctx_in = ctypes.cast(context, ctypes.c_char_p)  # the kernel writes back to where it read
        if abi.library().bpf_prog_test_run_opts(self.fd, byref(options)) < 0 or options.retval:
            raise abi.failure(f"run program {self.name} (it returned {options.retval})")
        return context.raw

    def run_live(self, data: bytes, ctx: bytes | None = None, repeat: int = 1, batch_size: int = 64) -> int:
        """Run an XDP program on ``repeat`` real frames, whose verdicts the kernel carries out; mean nanoseconds a
        frame.

        ``ctx`` is a ``struct xdp_md``; its ``ingress_ifindex``, in the caller's network namespace, is the interface
        that the frames seem to come from, and that XDP_TX sends them out of. Frames are written once, from ``data``,
        and come back from a pool as the last user left them. Source: kernel, Documentation/bpf/bpf_prog_run.rst.
        Raises ``BpfError``: EINTR after a signal, EINVAL for a bad context or more than 256 frames a batch."""
        options = abi.TestRunOptions(
            sz=sizeof(abi.TestRunOptions),
            data_in=data,
            data_size_in=len(data),
            ctx_in=ctx,
            ctx_size_in=0 if ctx is None else len(ctx),
            repeat=repeat,
            flags=abi.TEST_XDP_LIVE_FRAMES,
            batch_size=batch_size,
        )
        if abi.library().bpf_prog_test_run_opts(self.fd, byref(options)) < 0:
            raise abi.failure(f"send {repeat} frames through program {self.name}")
        return int(options.duration)

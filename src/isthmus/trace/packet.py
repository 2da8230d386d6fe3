"""The logical packet: what the stages ask about, without its bytes."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.address import Family

TCP, UDP, DCCP, UDP_LITE = 6, 17, 33, 136
ICMP_PROTO: dict[Family, int] = {4: 1, 6: 58}
"""The family's own ICMP. The other one is an "other protocol" in that family."""

TCP_FIN, TCP_SYN, TCP_RST, TCP_ACK = 0x01, 0x02, 0x04, 0x10
ECHO_REQUEST: dict[Family, int] = {4: 8, 6: 128}
ECHO_REPLY: dict[Family, int] = {4: 0, 6: 129}
ERROR_TYPES_V4 = frozenset({3, 11, 12})
LINK_ONLY_V4 = frozenset({4, 5})  # source quench (RFC 6633), redirect (RFC 792)
FIRST_INFORMATIONAL_V6 = 128  # RFC 4443 2.1: ICMPv6 errors have the high bit of the type clear
EXTENSIONS_V6 = frozenset({0, 43, 44, 51, 60, 135, 139, 140})
"""Protocol numbers of IPv6 extension headers that are stepped over (IANA, IPv6 Extension Header Types)."""
NEIGHBOUR_DISCOVERY = range(133, 138)  # RFC 4861: ICMPv6 router and neighbour messages, redirect


class Packet(NamedTuple):
    """One IP packet, or as much of one as an ICMP error quotes.

    ``src`` and ``dst`` are left-aligned (see ``tables.address``). ``sport`` and ``dport`` hold type and code in ICMP,
    and are 0 where a packet has none. ``length`` is that of the IP packet in bytes. ``inner`` is what an ICMP
    error quotes; None in an error: nothing that could be parsed. ``identification``: of a fragment, which packet it
    is of, else 0. ``echo_id``: the identifier of an echo request or reply, else 0.
    """

    family: Family
    src: int
    dst: int
    proto: int
    sport: int = 0
    dport: int = 0
    ttl: int = 64
    length: int = 0
    fragment: bool = False
    later_fragment: bool = False
    dont_fragment: bool = False
    tcp_flags: int = 0
    inner: Packet | None = None
    identification: int = 0
    echo_id: int = 0

    @property
    def icmp(self) -> bool:
        """True for the family's own ICMP."""
        return self.proto == ICMP_PROTO[self.family]

    @property
    def error(self) -> bool:
        """True for an ICMP error: judged by what is inside it. A later fragment shows no type, so it is none."""
        if not self.icmp or self.later_fragment:
            return False
        return self.sport in ERROR_TYPES_V4 if self.family == 4 else self.sport < FIRST_INFORMATIONAL_V6

    @property
    def link_only(self) -> bool:
        """True for ICMP that never leaves its link: ICMPv6 133 to 137, ICMP redirect and source quench."""
        if not self.icmp or self.later_fragment:
            return False
        return self.sport in (LINK_ONLY_V4 if self.family == 4 else NEIGHBOUR_DISCOVERY)

    @property
    def echo(self) -> bool:
        """True for an echo request or reply, which has an identifier; a later fragment shows none."""
        kinds = (ECHO_REQUEST[self.family], ECHO_REPLY[self.family])
        return self.icmp and not self.later_fragment and self.sport in kinds

    @property
    def ported(self) -> bool:
        """True for TCP, UDP and the family's own ICMP: what tells its conversations apart is in the first fragment."""
        return self.icmp or self.proto in (TCP, UDP)

    @property
    def lacks_ports(self) -> bool:
        """True for a later fragment whose conversation only the first fragment tells; behind IPv6 extension headers
        not even the protocol shows."""
        return self.later_fragment and (self.ported or (self.family == 6 and self.proto in EXTENSIONS_V6))

    @property
    def starts(self) -> bool:
        """True if it starts a conversation: TCP with SYN and no ACK, UDP, echo request, every other protocol."""
        if self.lacks_ports:
            return False
        if self.proto == TCP:
            return self.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN
        return self.sport == ECHO_REQUEST[self.family] if self.icmp else True

    @property
    def port_word(self) -> int:
        """Both ports as they go into the share of next hops; 0 for fragments and where there are none."""
        if self.fragment or self.proto not in (TCP, UDP):
            return 0
        return self.sport << 16 | self.dport

    @property
    def mirrored(self) -> Packet:
        """What answers it, as far as path and share go: addresses and ports swapped; ICMP type and code stay."""
        sport, dport = (self.sport, self.dport) if self.icmp else (self.dport, self.sport)
        return self._replace(src=self.dst, dst=self.src, sport=sport, dport=dport)

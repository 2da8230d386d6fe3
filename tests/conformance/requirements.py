"""Every requirement that RFC 4787, 5382, 5508, 6888 and 7857 put to a NAT, one row each, in our own words.

Names are those of the RFC: `REQ-3a` is item a of REQ-3. A requirement that only introduces its items (REQ-10 of
RFC 5508, REQ-11 of RFC 6888) has rows for the items alone. RFC 7857 numbers no requirements: there a name is that of
the section, with a letter of ours where a section asks for more than one thing.
"""

from typing import Final, NamedTuple


class Requirement(NamedTuple):
    rfc: int
    name: str
    level: str
    """The word of RFC 2119 that it starts with."""
    text: str


UDP: Final = (
    Requirement(
        4787,
        "REQ-1",
        "MUST",
        "One internal address and port keeps one external address and port toward every destination.",
    ),
    Requirement(
        4787,
        "REQ-2",
        "RECOMMENDED",
        "With a pool of addresses, all mappings of one internal host share one external address.",
    ),
    Requirement(
        4787, "REQ-3", "MUST NOT", "One external address and port is never given to two internal endpoints at a time."
    ),
    Requirement(
        4787,
        "REQ-3a",
        "RECOMMENDED",
        "A source port below 1024 is mapped to one below 1024, and one from 1024 on to one from 1024 on.",
    ),
    Requirement(4787, "REQ-4", "RECOMMENDED", "An even port is mapped to an even one, an odd port to an odd one."),
    Requirement(4787, "REQ-5", "MUST NOT", "A UDP mapping does not expire before two minutes idle, REQ-5a excepted."),
    Requirement(
        4787,
        "REQ-5a",
        "MAY",
        "Mappings toward a well-known destination port may expire earlier, as suits the application of that port.",
    ),
    Requirement(4787, "REQ-5b", "MAY", "The UDP mapping timer can be configured."),
    Requirement(4787, "REQ-5c", "RECOMMENDED", "The UDP mapping timer is five minutes or longer by default."),
    Requirement(4787, "REQ-6", "MUST", "A packet from inside to outside restarts the timer of its mapping."),
    Requirement(4787, "REQ-6a", "MAY", "A packet from outside to inside restarts the timer of its mapping too."),
    Requirement(
        4787,
        "REQ-7",
        "MUST",
        "Where the external address is configured dynamically, internal addresses are kept clear of those outside, "
        "or hosts reach one another although both networks use the same addresses.",
    ),
    Requirement(
        4787,
        "REQ-8",
        "RECOMMENDED",
        "What may come in does not depend on the sender where transparency counts most, and on the sender's address "
        "alone where strictness does.",
    ),
    Requirement(4787, "REQ-8a", "MAY", "The administrator can choose how what comes in is filtered."),
    Requirement(
        4787,
        "REQ-9",
        "MUST",
        "Two internal hosts can talk through the external address and port of one of them (hairpinning).",
    ),
    Requirement(
        4787, "REQ-9a", "MUST", "The receiver of a hairpinned packet sees the external address and port of its sender."
    ),
    Requirement(4787, "REQ-10", "SHOULD", "Application gateways for protocols over UDP are off."),
    Requirement(
        4787, "REQ-10a", "RECOMMENDED", "Each application gateway that exists can be switched on and off by itself."
    ),
    Requirement(
        4787, "REQ-11", "MUST", "Mapping and filtering follow the same rules at all times and under all conditions."
    ),
    Requirement(4787, "REQ-12", "MUST NOT", "No ICMP message ends a mapping."),
    Requirement(
        4787,
        "REQ-12a",
        "SHOULD NOT",
        "By default, ICMP messages are not dropped because of the address they come from.",
    ),
    Requirement(4787, "REQ-12b", "RECOMMENDED", "ICMP Destination Unreachable is supported."),
    Requirement(
        4787,
        "REQ-13",
        "MUST",
        "A packet from inside that is too big and has DF set is answered with Fragmentation Needed to its sender.",
    ),
    Requirement(
        4787,
        "REQ-13a",
        "MUST",
        "A packet that is too big and has no DF is fragmented, the fragments best sent in order.",
    ),
    Requirement(4787, "REQ-14", "MUST", "Fragments are translated whether they come in order or out of order."),
    Requirement(
        4787,
        "REQ-14a",
        "MUST",
        "An attack with fragments does not take away the means to handle whole packets and fragments in order.",
    ),
)

TCP: Final = (
    Requirement(
        5382,
        "REQ-1",
        "MUST",
        "For TCP too, one internal address and port keeps one external pair toward every destination.",
    ),
    Requirement(
        5382,
        "REQ-2",
        "MUST",
        "Every valid sequence of TCP packets works, for connections begun inside and for permitted ones begun outside.",
    ),
    Requirement(5382, "REQ-2a", "MUST", "Simultaneous open works, as the three-way handshake does."),
    Requirement(
        5382,
        "REQ-3",
        "RECOMMENDED",
        "What may come in does not depend on the sender where transparency counts most, and on the sender's address "
        "alone where strictness does.",
    ),
    Requirement(5382, "REQ-3a", "MAY", "The administrator can choose how TCP that comes in is filtered."),
    Requirement(5382, "REQ-3b", "MAY", "TCP may be filtered otherwise than UDP."),
    Requirement(
        5382,
        "REQ-4",
        "MUST NOT",
        "A SYN from outside that nobody asked for gets no answer for 6 s, is forgotten silently if the matching SYN "
        "from inside is translated meanwhile, and else should get Port Unreachable, REQ-4a excepted.",
    ),
    Requirement(
        5382, "REQ-4a", "MUST", "That SYN is dropped silently where an answer would break the security policy."
    ),
    Requirement(
        5382,
        "REQ-5",
        "MUST NOT",
        "A session may be given up when idle, but not before 2 h 4 min if established, nor before 4 min if "
        "opening or closing.",
    ),
    Requirement(5382, "REQ-5a", "MAY", "The idle timeouts of TCP can be configured."),
    Requirement(
        5382, "REQ-6", "RECOMMENDED", "Application gateways for protocols over TCP, FTP excepted, are off by default."
    ),
    Requirement(
        5382,
        "REQ-7",
        "MUST NOT",
        "One external address and TCP port is never given to two internal endpoints at a time.",
    ),
    Requirement(5382, "REQ-8", "MUST", "Hairpinning works for TCP."),
    Requirement(
        5382, "REQ-8a", "MUST", "The receiver of a hairpinned segment sees the external address and port of its sender."
    ),
    Requirement(5382, "REQ-9", "SHOULD", "ICMP Destination Unreachable about a TCP packet is translated."),
    Requirement(5382, "REQ-10", "MUST NOT", "No ICMP message ends the mapping or the connection that it is about."),
)

ICMP: Final = (
    Requirement(
        5508,
        "REQ-1",
        "MUST",
        "Unless policy says otherwise, ICMP queries from inside go out and their responses come back.",
    ),
    Requirement(5508, "REQ-1a", "SHOULD", "A query identifier is mapped to the same one whichever host is asked."),
    Requirement(5508, "REQ-2", "MUST NOT", "An ICMP query session does not expire before 60 s."),
    Requirement(5508, "REQ-2a", "RECOMMENDED", "The timer of ICMP query sessions can be configured."),
    Requirement(5508, "REQ-3", "SHOULD", "An ICMP error whose ICMP checksum is wrong is dropped silently."),
    Requirement(
        5508,
        "REQ-3a",
        "SHOULD",
        "An ICMP error is dropped silently if the IP header checksum of the packet inside is wrong.",
    ),
    Requirement(
        5508, "REQ-3b", "MUST", "The transport header of the packet inside an error is found behind its IP options."
    ),
    Requirement(
        5508,
        "REQ-3c",
        "SHOULD NOT",
        "The transport checksum of the packet inside an error is not verified, even if it could be.",
    ),
    Requirement(
        5508,
        "REQ-3d",
        "MUST",
        "ICMP extensions and the padding before them do not count as part of the packet inside when its transport "
        "checksum is evaluated.",
    ),
    Requirement(
        5508, "REQ-4", "SHOULD", "An error from outside about a packet that no mapping holds is dropped silently."
    ),
    Requirement(
        5508,
        "REQ-4a",
        "MUST",
        "In an error from outside, IP and transport header of the packet inside become what the internal host sent.",
    ),
    Requirement(5508, "REQ-4b", "MUST", "Type and code of an error from outside stay as they are."),
    Requirement(
        5508,
        "REQ-4c",
        "MUST",
        "The outer destination of an error from outside becomes the source of the packet inside as translated.",
    ),
    Requirement(
        5508, "REQ-5", "SHOULD", "An error from inside about a packet that no mapping holds is dropped silently."
    ),
    Requirement(
        5508,
        "REQ-5a",
        "MUST",
        "In an error from inside, IP and transport header of the packet inside become what the external host sent.",
    ),
    Requirement(5508, "REQ-5b", "MUST", "Type and code of an error from inside stay as they are."),
    Requirement(
        5508,
        "REQ-5c",
        "MUST",
        "The outer source of an error from inside becomes the public address of its sender where addresses are mapped "
        "one to one and the sender has a mapping, and else the public address of the NAT itself.",
    ),
    Requirement(
        5508,
        "REQ-6",
        "MUST NOT",
        "An error about an ICMP query or its response neither refreshes nor ends the session.",
    ),
    Requirement(
        5508,
        "REQ-7",
        "MUST",
        "Hairpinned ICMP errors cross every NAT, and hairpinned ICMP queries one that maps addresses one to one.",
    ),
    Requirement(
        5508,
        "REQ-7a",
        "MUST",
        "The outer destination of a hairpinned error becomes the source of the packet inside as translated.",
    ),
    Requirement(
        5508,
        "REQ-8",
        "SHOULD",
        "A packet that gets no session, for want of room or by policy, is dropped and answered with Destination "
        "Unreachable, code 13.",
    ),
    Requirement(5508, "REQ-9", "MAY", "A policy can keep the NAT from sending ICMP messages out of some interfaces."),
    Requirement(
        5508,
        "REQ-10a",
        "MUST",
        "Destination Unreachable, Time Exceeded, and Echo Request and Reply (as in REQ-1) are supported.",
    ),
    Requirement(
        5508,
        "REQ-10b",
        "MAY",
        "Redirect, Timestamp, source route options, Address Mask, Parameter Problem and Router Discovery may be "
        "supported.",
    ),
    Requirement(5508, "REQ-10c", "SHOULD NOT", "Source Quench and Information Request and Reply are not supported."),
    Requirement(
        5508,
        "REQ-10d",
        "RECOMMENDED",
        "ICMP messages of the NAT itself take the DS field of the packet that caused them.",
    ),
    Requirement(
        5508,
        "REQ-10e",
        "RECOMMENDED",
        "The NAT sends no ICMP error where RFC 1812 4.3.2.7 forbids it: about errors, later fragments, broadcasts and "
        "the like.",
    ),
    Requirement(5508, "REQ-10f", "RECOMMENDED", "The rate of ICMP errors that the NAT itself sends is limited."),
    Requirement(
        5508, "REQ-11", "MAY", "ICMP messages that are neither queries nor errors may be dropped, or handled as fits."
    ),
)

CGN: Final = (
    Requirement(
        6888,
        "REQ-1",
        "MUST",
        "For each transport protocol that is forwarded, the behavior that its own document requires is kept: UDP (RFC "
        "4787), TCP (RFC 5382), ICMP (RFC 5508), DCCP (RFC 5597).",
    ),
    Requirement(
        6888,
        "REQ-2",
        "MUST",
        "By default all mappings of a subscriber, of any protocol, share one external address; it may be changed for "
        "some applications.",
    ),
    Requirement(
        6888,
        "REQ-3",
        "SHOULD NOT",
        "Size and contiguity of the external pool are not limited, and ranges that are not contiguous must be "
        "accepted.",
    ),
    Requirement(
        6888, "REQ-4", "MUST", "The external ports and ICMP identifiers of one subscriber can be limited in number."
    ),
    Requirement(6888, "REQ-4a", "MUST", "The limits per subscriber can be configured."),
    Requirement(
        6888, "REQ-4b", "MAY", "The limits per subscriber can be configured for each transport protocol by itself."
    ),
    Requirement(
        6888,
        "REQ-4c",
        "RECOMMENDED",
        "Adjustable thresholds, as of the rate of new mappings, keep one subscriber from taking too much of the CPU.",
    ),
    Requirement(6888, "REQ-5", "SHOULD", "The memory for state can be limited for each mapping and each subscriber."),
    Requirement(6888, "REQ-5a", "SHOULD", "The limits of memory can be configured."),
    Requirement(6888, "REQ-5b", "SHOULD", "The rate at which state that takes memory is allocated can be limited."),
    Requirement(6888, "REQ-6", "MUST", "Translation can be switched off for chosen destination addresses or ports."),
    Requirement(
        6888,
        "REQ-7",
        "RECOMMENDED",
        "What may come in does not depend on the sender; it may depend on the sender's address where no "
        "application breaks.",
    ),
    Requirement(
        6888,
        "REQ-8",
        "SHOULD NOT",
        "An external port is not given to a new mapping within 120 s of its release, REQ-8a to REQ-8c excepted.",
    ),
    Requirement(
        6888, "REQ-8a", "MAY", "TCP ports may be reused at once where TCP sessions are tracked by a state machine."
    ),
    Requirement(
        6888,
        "REQ-8b",
        "MAY",
        "Ports may be reused at once where they belong to subscribers statically, also across a loss of state.",
    ),
    Requirement(
        6888,
        "REQ-8c",
        "MAY",
        "Ports may be reused at once where filtering depends on the sender's address, or address and port.",
    ),
    Requirement(
        6888, "REQ-8 (limits)", "MUST", "Length of this wait and number of ports in it at most can be configured."
    ),
    Requirement(
        6888,
        "REQ-9",
        "MUST",
        "A protocol, which should be PCP, gives subscribers explicit control over their mappings.",
    ),
    Requirement(6888, "REQ-10", "SHOULD", "The NAT can be managed, best by standard means such as the NAT MIB."),
    Requirement(6888, "REQ-11a", "MUST", "A packet that gets no mapping, for want of room or by quota, is dropped."),
    Requirement(6888, "REQ-11b", "SHOULD", "The sender of such a packet gets Destination Unreachable, code 1."),
    Requirement(6888, "REQ-11c", "SHOULD", "The management system, if there is one, is notified of it."),
    Requirement(6888, "REQ-11d", "MUST NOT", "No existing mapping is given up to make room for a new one."),
    Requirement(
        6888,
        "REQ-12",
        "SHOULD NOT",
        "Destination addresses and ports are not logged unless administration requires it.",
    ),
    Requirement(6888, "REQ-13", "SHOULD", "Ports are allocated so that as many as possible can be used."),
    Requirement(6888, "REQ-14", "SHOULD", "Ports are allocated so that little needs to be logged."),
    Requirement(6888, "REQ-15", "SHOULD", "Ports are allocated so that an attacker can hardly guess them."),
)

UPDATES: Final = (
    Requirement(7857, "2", "SHOULD", "TCP sessions are tracked by the state machine of RFC 6146 as adapted there."),
    Requirement(7857, "2.1a", "SHOULD", "Idle timeouts of opening and of closing connections can be configured apart."),
    Requirement(7857, "2.1b", "MAY", "The transitory timeout can be configured to less than 4 minutes."),
    Requirement(7857, "2.1c", "RECOMMENDED", "The transitory timeout is at least 4 minutes by default."),
    Requirement(7857, "2.2a", "MUST", "A TCP RST that matches a mapping is translated by it."),
    Requirement(
        7857, "2.2b", "SHOULD", "After a RST the session is removed only when no packet has come for 4 minutes."
    ),
    Requirement(
        7857, "3", "MAY", "Connections to different destination addresses and ports may have the same external port."
    ),
    Requirement(
        7857,
        "4a",
        "SHOULD",
        "With paired pooling, a new session of a host whose external address has no port left is dropped.",
    ),
    Requirement(7857, "4b", "MAY", "A parameter lets such a host use ports of another external address."),
    Requirement(
        7857, "5", "SHOULD", "Endpoint-independent mappings are kept apart by protocol; a parameter may join them."
    ),
    Requirement(
        7857, "6", "SHOULD", "Endpoint-independent filters are kept apart by protocol; a parameter may join them."
    ),
    Requirement(
        7857,
        "7",
        "SHOULD NOT",
        "A packet from outside that fits a mapping, but that policy does not let in, does not refresh the mapping.",
    ),
    Requirement(
        7857,
        "7.1a",
        "SHOULD NOT",
        "An ICMP error from inside, in answer to a packet from outside, refreshes no mapping.",
    ),
    Requirement(
        7857, "7.1b", "SHOULD NOT", "A TCP RST from inside, in answer to a packet from outside, refreshes no mapping."
    ),
    Requirement(7857, "8a", "MAY", "Dynamic mappings need not keep the parity of ports."),
    Requirement(7857, "8b", "SHOULD", "There is a means (such as RFC 7753) to ask for parity explicitly."),
    Requirement(
        7857,
        "9",
        "SHOULD",
        "A port that must change is replaced by one that is hard to guess, as in RFC 6056 section 4.",
    ),
    Requirement(
        7857, "10", "SHOULD", "The Identification field of translated IPv4 packets is handled as in RFC 6864 5.3.1."
    ),
    Requirement(7857, "11", "MAY", "A mapping of ICMP queries may go with the last session that uses it."),
    Requirement(
        7857,
        "12a",
        "MUST",
        "One-to-one mappings of addresses are kept so that ICMP queries from outside and hairpinned ones pass.",
    ),
    Requirement(
        7857,
        "12b",
        "MUST",
        "Every NAT keeps mappings of external to internal addresses so that hairpinned ICMP errors pass.",
    ),
)

REQUIREMENTS: Final[tuple[Requirement, ...]] = UDP + TCP + ICMP + CGN + UPDATES

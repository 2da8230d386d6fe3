"""What the twin remembers: flows, mappings of stateful NAT, and what first fragments found.

It follows the section *flow* of ``docs/packet-path.md``. ``Flows`` is the state of one gateway; nothing here knows of
a packet's way through the stages, so that the sweep can judge flows without one.
"""

from isthmus.trace.flows.state import Flows

__all__ = ["Flows"]

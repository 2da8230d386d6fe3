"""
isthmus: a gateway that peers VPCs, also when they use the same addresses.

A VPC is an isolated routing domain. Two of them can reach one another through a *peering* alone: each side says which
of its addresses it offers, how the other sees them (network address translation), and what its hosts may start.
isthmus turns such objects into tables, and the tables into packets, along one way::

    api -> model -> compile -> tables -> datapath     the kernel forwards (XDP and TC, in C)
                                  \\----> trace        the same tables answer in Python: what happens to this packet?

``api`` holds the objects as people write them, ``model`` the same with every name resolved and every mistake found,
``compile`` is a pure function from the one to ``tables``, the contract with the packet path. ``routing`` says where
addresses live, ``lab`` builds a gateway with hosts on one machine, ``bench`` measures it, and ``cli`` is all of this
for the terminal. A package imports to the right of itself only, never back; the linter says so in CI.
"""

__version__ = "0.1.0"

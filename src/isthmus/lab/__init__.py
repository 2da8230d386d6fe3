"""
A real gateway with real packets on one machine: network namespaces, hosts, probes.

``hosts`` and ``plan`` are pure: they decide what a lab holds. ``build`` makes it, ``keeper`` is the background process
that holds the packet path, ``state`` remembers what was made, and ``control`` is up and down. ``probe`` compares what
real sockets see with what the twin says; ``demo`` shows the examples.

Nothing here decides about packets: that is the packet path's. And nothing outside of the namespaces that a lab made is
ever touched.
"""

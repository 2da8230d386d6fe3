"""The other side of BGP in a lab: the neighbours of a VPC, played by a real daemon among its hosts.

``speakers`` and ``routes`` are pure: who speaks, and what is announced. ``bird`` and ``frr`` write configurations,
which share nothing with that of the gateway's own daemon. ``daemons`` starts, asks and ends; ``cables`` pulls them.
"""

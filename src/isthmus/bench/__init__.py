"""The bench: how fast is it, beside the kernel's own path?

``run`` measures subjects in turn, many short bursts each. A ``Subject`` (in ``subject``) is anything that forwards
from one port of a gateway's namespace to the other: isthmus (``gateway``), or what the kernel offers (``baselines``).
``topology`` builds the namespaces around it, ``generator`` sends and counts, ``throughput`` runs TCP through it,
``machine`` says which CPU to use and who else used it. What is sent, and the objects that make isthmus forward it,
come from ``configuration`` (tags from ``tags``, full tables from ``internet``): one source, so that all subjects see
the same packets. ``routes`` measures how a table that BGP has filled (``learned``) changes while packets flow.

Nothing here is part of the gateway; nothing outside ``cli`` imports it.
"""


class BenchError(Exception):
    """The bench cannot measure: what is missing, or which subject did not do its work."""

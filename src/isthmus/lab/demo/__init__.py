"""
The examples at work: ``python -m isthmus.lab.demo [PART…]``.

``story`` is what is shown and what must come of it, ``stage`` runs it with the program as a user would, and with the
programs that a user would take: curl, ping, and ``clients`` for what takes more than a line. What the other end saw is
asked of the other end (``servers``, or what arrives there), never of the gateway. ``beyond`` is a host behind a router.
"""

"""
The examples at work: ``python -m isthmus.lab.demo [PART…]``.

``story`` is what is shown and what must come of it, ``stage`` runs it with the program as a user would, and with the
programs that a user would take: curl and ping. What the other end saw is asked of the other end, never of the gateway.
"""

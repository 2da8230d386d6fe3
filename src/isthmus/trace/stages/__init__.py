"""The stages between classify and encapsulate, one module each, named as in ``docs/packet-path.md``.

A stage reads the judgement so far, writes what it finds, and says the verdict that ends the packet, or None: go on.
"""

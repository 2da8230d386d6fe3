"""BGP with one local daemon: all it has learned comes in, in bulk, and what is to be announced goes out.

``session`` speaks it over one non-blocking socket, ``reader`` makes batches of routes out of bytes, ``writer`` makes
UPDATEs of routes. A session may say its routes in any order and group: nothing here decides which is best.
"""

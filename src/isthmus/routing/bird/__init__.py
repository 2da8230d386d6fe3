"""BIRD 2 as the BGP daemon of a VPC: one process in its network namespace, configured, watched and asked from here.

What it learns comes to us, and what we announce goes to it, over a BGP session of its own: the *feed*.
"""

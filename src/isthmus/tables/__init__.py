"""The contract between the compiler and everything that evaluates packets.

Holds addresses, verdicts, the logical tables (what the compiler writes and the twin reads) and the
C layouts of the same tables (what the packet path reads). Nothing in this package imports anything
of ours, does I/O, or knows what a peering looks like in YAML.
"""

"""The twin: the packet path once more, in plain Python, and its explanations.

It evaluates the same logical tables as the BPF program, stage by stage, under the same names
(``docs/packet-path.md``), and is kept deliberately simple, so that a difference between the two tells of a bug.
``judge`` decides on a packet, in the state that ``flows`` remembers; ``twin`` adds the bytes around it, ``explain``
puts the decision into words.

Of ours it may import ``tables`` and ``problems`` only: what it knows of a configuration is what the packet path knows.
"""

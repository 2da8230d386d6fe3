"""
The command line: one file a command, and nothing in it that another package would want.

A command reads its arguments, asks the packages below, prints the answer, and picks the exit status. What all
commands share (``-o json``, consoles, exit statuses) is in ``output``; ``main`` lists them.
"""

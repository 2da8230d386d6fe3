"""The resolved configuration: names linked, sets built, problems found; frozen, and free of YAML.

No kernel, no clock, no I/O. What a user wrote wrongly ends here as a ``Problem``; what passes is right.
"""

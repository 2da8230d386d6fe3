"""Measurements behind decisions: run by hand (``python -m tests.measure.NAME``), never collected by pytest."""

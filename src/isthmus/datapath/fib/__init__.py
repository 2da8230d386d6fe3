"""Learned routes: longest-prefix tables that change in place, under packets, a few words at a time."""

"""Learned routes from files, for questions that are asked offline.

A *routes file* is ours, and names its VPCs (``routes_file``). MRT dumps (``mrt``, RFC 6396 TABLE_DUMP_V2, also .gz and
.bz2) and what BIRD's ``show route all`` prints (``bird``) are of one router, so the VPC is said beside them.
``read_dump`` reads any of them, ``learn`` decides as BGP does and gives what the packet path would know.
"""

from isthmus.routing.dumps.learn import learn
from isthmus.routing.dumps.path import DumpError, Origin, Path, Paths
from isthmus.routing.dumps.read import read_dump

__all__ = ["DumpError", "Origin", "Path", "Paths", "learn", "read_dump"]

"""
Real sockets in a lab, beside what the twin expects of them.

``cases`` decides what to try, ``expect`` asks the twin, ``wire`` watches what arrives where, ``sockets`` are the
clients and servers, ``run`` tries all cases at once and compares. No process is started: a socket belongs to the
namespace in which it was made, so one event loop holds the hosts of every VPC.
"""

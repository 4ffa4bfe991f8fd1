"""`make up`: everything that the flywheel needs, on one host, as local processes on loopback.

supervisord (https://supervisord.org) starts each service in a process group of its own, keeps its output, starts it
again when it ends, and stops the group. What is ours is what it does not do: in which order, when a service counts
as healthy, and what must exist before the next one may start.
"""

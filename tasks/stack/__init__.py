"""`make up`: the local service stack, as processes on one host's loopback interface.

supervisord (https://supervisord.org) starts each service in its own process group, logs its output, restarts it and
stops the group. This package adds the start order, the health checks, and the set-up between services.
"""

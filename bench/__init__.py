"""Benchmarks: this server beside its peers, one application, one run. ``python -m bench --help``; see README.md.

For development only: nothing of it is in the wheel. What makes the load and the report needs the standard library and
``wrk``; the servers run in a Python of their own.
"""

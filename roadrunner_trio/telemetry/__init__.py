"""What is told of requests and connections: events, ids, the context of a log line, logs.

It looks at messages and never touches them; whatever it does, no request fails for it. Read ``observe`` first, the
events and who is told of them; logging is one observer (``logs``), in notations of its own (``access_lines``,
``log_lines``). What anybody logs is made a line by ``log_format`` and goes out by ``log_output``.
"""

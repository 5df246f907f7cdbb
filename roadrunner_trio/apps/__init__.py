"""The wing: applications on top of the server, as anybody might write them.

They know the rooms up to ``websocket``; of the rooms below, only those that put everything together know them. Read
``routes`` (one path and what is behind it), then ``table`` and ``router``; of ASGI ``asgi_http`` (one request), then
``asgi``.
"""

"""WebSockets: a handler of requests that takes the exchange's stream over and speaks frames on it.

It knows exchanges and the octets of ``protocol.ws``, and no server. Read ``session`` first, what a handler of
WebSockets holds, then ``offer``, how it comes by one, and ``handler``, which makes a handler of requests of it.
``core`` is the state between frames and messages; its parts are ``inbox``, what waits for the handler, ``keepalive``,
whether the peer still lives, and ``link``, how octets reach the stream, with ``outgoing``, how far they have come.
``terms`` is what a session is begun with, ``told`` what the log hears.
"""

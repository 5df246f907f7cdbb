"""One connection, and those who open the door for it.

Read ``connection`` first: it is the story, one task told top to bottom, and all else in this room is there so that it
can be. Then ``http1_exchange`` and ``http1_sender`` (the octets of one exchange), ``report`` and ``presence`` (what
is told of it, and what a vanished peer costs it); then ``listener``, which accepts connections and drains them, and
``serve``, for programs that are nothing but a server.
"""

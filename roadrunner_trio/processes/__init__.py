"""Several processes as one server: a nursery of them, and the room that the supervisor is built in.

It knows the server and not the application: whoever supervises never imports what is served. Read ``states`` and
``slots`` first, where everything is decided and nothing is done; then ``supervisor``, which does it. ``board`` is the
memory that all share, ``control`` what they say to each other, ``children`` how they begin and end; ``worker`` is the
other side of it all.
"""

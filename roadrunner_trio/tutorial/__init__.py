"""The judge of the tutorial: a chapter's attacks against a reader's own server, on a virtual clock.

Knows every room above it and is known by none: it is a program for readers, started by
``python -m roadrunner_trio.tutorial``. Read :mod:`.stage` (a server, its peers, and what they said), then
:mod:`.chapters` (who does what to it), then :mod:`.judge`.
"""

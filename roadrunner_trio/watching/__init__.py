"""A window into a running server: the live tree of its tasks and connections, as a page.

Knows the rooms above, and nobody knows it but those who put everything together. Read :mod:`.sample` (what can be seen
at a moment), then :mod:`.changes` (what is new since the last one), then :mod:`.window`.
"""

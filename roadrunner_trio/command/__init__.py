"""``roadrunner-trio``: the server as a program.

It knows everything below. Read ``cli`` first; every option comes from one table (``setting_table``), whether it is
typed, in the environment or in a file, and ``configuration`` says which of these wins. ``load`` finds the application.
"""

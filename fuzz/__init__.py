"""Coverage-guided fuzzing of the parsers, with atheris. ``python -m fuzz --help``; see README.md.

For development only: nothing of it is in the wheel. The targets are plain functions of octets, which the ordinary tests
try on the seeds.
"""

"""The application in ASGI, as this server takes it."""

from __future__ import annotations

from roadrunner_trio.apps.asgi import asgi

from .asgi import app as application

app = asgi(application)

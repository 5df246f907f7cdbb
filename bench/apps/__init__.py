"""One application, written twice: for this server, and in ASGI for its peers. Paths and answers are the same."""

"""Small formats that requests and responses carry, as pure functions on text and bytes."""

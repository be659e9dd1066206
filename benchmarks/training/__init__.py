"""The training loop, what it keeps, and what it records while it runs."""

"""Fetching published sets: pinned addresses, a digest for every file, and nothing else is let in."""

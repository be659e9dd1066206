"""From run folders to the numbers of a table; no word of how they look."""

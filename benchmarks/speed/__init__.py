"""Benchmarks of the suite itself, as ratios in one process: ``python -m benchmarks.speed``."""

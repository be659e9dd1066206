"""Tables, statistics and plots from run files alone: ``from reports.build import build``."""

"""Tables, statistics, plots and a page from run files alone: ``from reports.build import build``."""

"""The numbers as plots."""

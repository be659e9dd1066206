"""What can be said of data sets before they are used: problems, lists, leaks, near duplicates, contact sheets."""

"""One run on one lake: command line, job graph, report."""

"""Silver to gold: the company's marts."""

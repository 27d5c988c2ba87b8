"""Silver -> gold: one file per mart."""

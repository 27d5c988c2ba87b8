"""PURE. Gold: silver tables -> marts, one file per mart. Which tables feed a mart stands in its `INPUTS`."""

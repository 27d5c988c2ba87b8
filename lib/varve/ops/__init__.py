"""What was done and what people decided: the tables of layer ops, the log of a run, the ledger."""

"""The proof of the history engine: an oracle in plain Python, and the tests that compare the engine with it."""

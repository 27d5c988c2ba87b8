"""Benchmarks of the history engine, beside other ways to keep the same history: `python -m bench history`."""

"""Databases: tables whole, or the rows of a window. What differs between vendors is in a module of its own."""

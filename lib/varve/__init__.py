"""Varve: a lakehouse on Spark and Delta Lake that keeps its history in layers."""

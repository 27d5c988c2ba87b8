"""Varve: a lakehouse on Spark and Delta Run that keeps its history in layers."""

"""Corpus to model to scores. Not needed at run time."""

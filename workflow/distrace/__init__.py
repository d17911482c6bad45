"""Sentence-level provenance of distilled reasoning models, and the selection of data to distil from."""

__version__ = "0.2.0"

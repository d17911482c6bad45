"""The report's numbers, figures and page."""

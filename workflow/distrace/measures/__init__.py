"""Pure functions on frames and arrays: probabilities, labels, scores, strategies, leans, grades and statistics."""

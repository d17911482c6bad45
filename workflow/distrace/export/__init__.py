"""Selections as data sets for others: the forms of the rows, the dataset card, the files of other trainers."""

"""A model scored on a data set, and what is left to look at."""

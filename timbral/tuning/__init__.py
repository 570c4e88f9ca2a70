"""The search for a data set's settings: what is searched, on which rows, by which trials, and what it was worth."""

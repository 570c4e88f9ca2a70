"""The history: every play that was ever recorded or imported, in a Delta Lake table on disk or in a bucket."""

"""Data that no host holds: read on Spark, put into order and turned there, and left in the store in blocks."""

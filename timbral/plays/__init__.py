"""Plays on their way: recorded by apps, waiting to be folded in, waiting to be archived. Thin: apps import it too."""

"""Where a training's state is kept while it goes on, and who does its half-sweeps."""

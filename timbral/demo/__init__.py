"""``timbral demo``: the main job, run for real on this machine and shown to a person."""

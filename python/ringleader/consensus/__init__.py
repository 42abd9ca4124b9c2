"""What all replicas agree on: the log, and the cores that decide its order."""

"""What all replicas agree on: the log, and the cores that decide its order."""

import ringleader.kernels  # noqa: F401  it decides which form of the modules here is loaded

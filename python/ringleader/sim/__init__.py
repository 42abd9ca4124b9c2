"""The simulator: what is wrong with a cluster shows here, from a seed."""

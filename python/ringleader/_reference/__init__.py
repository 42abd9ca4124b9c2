"""Plain-Python twins of ringleader._native, module for module and name for name.

Slow, obvious and written independently of the C: the tests hold one against the other.
"""

"""Formats of exports: one module each, listed in the registry."""

"""Doors to the web frameworks. Each module imports its framework only when it is used."""

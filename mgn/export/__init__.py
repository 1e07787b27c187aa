"""A checkpoint frozen into a file that describes itself."""

"""Data sets by name, one file a family of layouts."""

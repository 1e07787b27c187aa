"""A plain export as the files that other programs load, each proven in its own runtime."""

"""Multiple Granularity Network (arXiv:1804.01438) in TensorFlow 1.x style."""

"""TensorFlow Serving: the SavedModel it loads, and its client side."""

"""Signatures of a served model, by name: what a server loads, and what its clients ask for."""

SERVING_SIGNATURE = "reid_mgn_serving"
INPUT_IMAGE, REID_EMBEDDING = "input_image", "reid_embedding"  # what the signature maps
# Of a served plain model whose images have a mean and deviation of their own: what tells a client.
PIXELS_SIGNATURE, MEAN_AND_STD = "reid_mgn_pixels", "mean_and_std"

"""Signatures of a served model, by name: what a server loads, and what its clients ask for."""

SERVING_SIGNATURE = "reid_mgn_serving"
INPUT_IMAGE, REID_EMBEDDING = "input_image", "reid_embedding"  # what the signature maps
# Of a served plain model whose images have a mean and deviation of their own: what tells a client.
PIXELS_SIGNATURE, MEAN_AND_STD = "reid_mgn_pixels", "mean_and_std"
# Of a served plain model of smaller vectors: whole ones, to which a client adds the mirror image's,
# and smaller ones made of that sum.
WHOLE_SIGNATURE, SMALLER_SIGNATURE = "reid_mgn_whole", "reid_mgn_smaller"
WHOLE_EMBEDDING = "whole_embedding"

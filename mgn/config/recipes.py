"""Named sets of options, and what each aims at."""

import dataclasses

from mgn.config.options import TrainConfig
from mgn.config.variants import VARIANTS

_SEATHIEFWANG = TrainConfig()
_SMALL = TrainConfig(  # what both recipes without pretrained weights have
    weight_decay=0.0,
    learning_rate=5e-4,
    triplet_weight=1.0,
    batch_ids=8,
    zero_init_residual=True,
    random_erasing=0.0,
    pretrained=False,
    height=96,
    width=32,
)
RECIPES = {
    "demo": dataclasses.replace(
        _SMALL,
        recipe="demo",
        optimizer="adam",
        epochs=27,
        max_steps=80,
        milestones=(24,),
        triplet_start_step=20,
        evaluate_untrained=True,
    ),
    "scratch": dataclasses.replace(
        _SMALL,
        recipe="scratch",
        kernel_init="uniform",  # a step changes a larger share of these than of He's values
        # On photographs these two help much. Hundreds of synthetic people are learnt later with
        # them (doc/results.md).
        crop_padding=3,
        color_jitter=0.3,
        # Blocks as the identity learnt 700 synthetic people sooner, and 40 real ones worse. Of 600
        # composed of photographs there was no clear difference (doc/results.md).
        zero_init_identities=100,
        epochs=200,
        schedule="cosine",  # over all epochs, however many they are
        final_learning_rate=1e-6,
        warmup_steps=100,
        # Before the classifier has learnt something the triplet loss makes all embeddings alike;
        # how long that takes depends on the data (doc/results.md).
        triplet_start_step=300,
        triplet_start_loss=0.75,
        margin=0.3,
        average_decay=0.99,  # does what a lower rate at the end does, wherever a run is stopped
    ),
    "paper": dataclasses.replace(
        _SEATHIEFWANG,
        recipe="paper",
        optimizer="sgd",
        learning_rate=1e-2,
        triplet_weight=1.0,
        random_erasing=0.0,
        # the paper's 80 passes over 12,936 images, in epochs of 751 identities x 4 images
        epochs=345,
        milestones=(172, 259),  # its 40 and 60
        pool="max",
    ),
    "seathiefwang": _SEATHIEFWANG,
    "lwplw": dataclasses.replace(_SEATHIEFWANG, recipe="lwplw", batch_ids=8, reduction="prelu"),
    "strong": dataclasses.replace(
        _SEATHIEFWANG,
        recipe="strong",
        learning_rate=3.5e-4,
        margin=None,
        triplet_weight=1.0,
        label_smoothing=0.1,
        crop_padding=10,
        epochs=260,  # 12,220 steps of 64 images: fast-reid's 60 epochs are 12,120
        schedule="cosine",
        cosine_start=130,  # half of the run, as there
        final_learning_rate=7e-7,
        warmup_steps=2000,
        warmup_factor=0.1,
        average_decay=0.999,
    ),
    "fastreid": dataclasses.replace(
        _SEATHIEFWANG,
        recipe="fastreid",
        variant="fastreid",
        **VARIANTS["fastreid"],
        classifier="cosine",
        optimizer="adam",
        learning_rate=3.5e-4,
        margin=None,
        triplet_weight=1.0,  # 0.2 for each of five
        part_triplets=True,
        label_smoothing=0.1,
        crop_padding=10,
        batch_ids=4,
        batch_images=16,
        freeze_steps=1000,
        epochs=65,  # 12,155 steps of 64 images
        schedule="cosine",
        cosine_start=32,
        final_learning_rate=7e-7,
        warmup_steps=2000,
        warmup_factor=0.1,
    ),
}
RECIPE_NOTES = {  # what each aims at on Market-1501, without re-ranking, and who published it
    "demo": "minutes on two cores, on the embedded drawn set; no published figure",
    "scratch": "no pretrained weights, small images; no published figure (ours: doc/results.md)",
    "paper": "mAP 86.9, rank@1 95.7 (arXiv:1804.01438); re-implementations of it report less",
    "seathiefwang": "re-ranked mAP 93.8, rank@1 95.8 (MGN-pytorch);"
    " lwplw's run, P=8: mAP 87.9, rank@1 94.9",
    "lwplw": "re-ranked mAP 94.7, rank@1 96.1 (lwplw/reid-mgn, PReLU;"
    " without re-ranking not published)",
    "strong": "fast-reid's settings on MGN's network; no published figure",
    "fastreid": "fast-reid's network and settings, without AutoAugment: mAP 89.8, rank@1 95.8",
}

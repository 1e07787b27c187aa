"""Draws the two images beside this file: `python doc/draw.py`.

Lengths are pixels of the finished image and y grows downwards, as in an image.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import patches, path
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

WIDTH, DPI = 2000, 200
INK, SOFT, LINE, EDGE, PALE = "#1f2937", "#566173", "#8a95a5", "#c3cad5", "#f3f5f8"
WHOLE, HALF, THIRD, LOSS = "#2f6fd0", "#11806d", "#c2570c", "#8f3a76"
CODE = {"family": "monospace", "weight": "bold", "size": 10}
TRUNK = (
    "7×7 conv / 2\n192×64×64",
    "max pool / 2\n96×32×64",
    "layer1\n96×32×256",
    "layer2\n48×16×512",
    "layer3.0\n24×8×1024",
)
BRANCHES = (  # name, stride of layer4, its map, y, height of the map as drawn
    ("p1", 2, "12×4×2048", 260, 150),
    ("p2", 1, "24×8×2048", 640, 300),
    ("p3", 1, "24×8×2048", 1160, 300),
)
HEADS = {  # name: (colour, y), in the order of the embedding
    "fg_p1": (WHOLE, 260),
    "fg_p2": (WHOLE, 432),
    "fg_p3": (WHOLE, 930),
    "f0_p2": (HALF, 565),
    "f1_p2": (HALF, 715),
    "f0_p3": (THIRD, 1060),
    "f1_p3": (THIRD, 1160),
    "f2_p3": (THIRD, 1260),
}


def main() -> None:
    """Rewrite both images."""
    mpl.use("Agg")
    for draw, height in ((architecture, 1720), (preprocess_and_postprocess, 1070)):
        figure = plt.figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI)
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        ax.axis("off")
        draw(ax)
        figure.canvas.draw()
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        image.quantize(256).save(Path(__file__).with_name(f"{draw.__name__}.png"), optimize=True)
        plt.close(figure)


def architecture(ax: Axes) -> None:
    """Draw the network: from the image to maps, heads, losses and embedding."""
    text(ax, 40, 60, "Multiple Granularity Network", size=16, weight="bold", ha="left")
    columns = {105: "image", 335: "shared trunk", 605: "branches", 805: "maps", 1158: "eight heads"}
    for x, title in (columns | {1523: "features", 1797: "losses (training)"}).items():
        text(ax, x, 118, title, color=SOFT, size=10)

    pedestrian(ax, 50, 475, 110, 330)
    text(ax, 105, 840, "384×128×3")
    arrow(ax, (164, 640), (198, 640))
    box(ax, 200, 212, 270, 856, fill=PALE)
    text(ax, 335, 260, "backbone", **CODE)
    for i, layer in enumerate(TRUNK):
        box(ax, 215, 311 + 154 * i, 240, 110, layer)
        if i:
            arrow(ax, (335, 269 + 154 * i), (335, 309 + 154 * i))
    for name, stride, size, y, height in BRANCHES:
        arrow(ax, (472, 640), (496, 640), (496, y), (523, y))
        box(ax, 525, y - 104, 160, 208)
        text(ax, 605, y - 70, name, **CODE)
        text(ax, 605, y + 20, f"copies of\nlayer3.1–5\nlayer4\nstride {stride}")
        arrow(ax, (687, y), (793 - height / 6, y))
        feature_map(ax, 805, y, height, name)
        text(ax, 805, y + height / 2 + 36, size)

    box(ax, 1475, 195, 96, 1130, fill=PALE)
    for name in HEADS:
        head(ax, name)
    arrow(ax, (1523, 1327), (1523, 1390), (1000, 1390), (1000, 1450))
    text(ax, 1545, 1390, "concatenate in this order", color=SOFT, size=10, ha="left")
    box(ax, 40, 1452, 1920, 146, fill=PALE)
    for i, (name, (colour, _)) in enumerate(HEADS.items()):
        box(ax, 57 + 236 * i, 1468, 234, 66, name, fill=colour, edge=colour, **CODE, color="white")
    for x, what, colour in (
        (411, "whole maps", WHOLE),
        (1001, "halves", HALF),
        (1591, "thirds", THIRD),
    ):
        text(ax, x, 1566, what, color=colour)
    text(ax, 1000, 1655, "person_embedding  [N, 2048]", **CODE | {"size": 13})


def feature_map(ax: Axes, x: float, y: float, height: float, branch: str) -> None:
    """Draw a branch's map around (x, y): a frame, its stripes, and an arrow to each head."""
    stripes = [name for name in HEADS if name.endswith(branch) and not name.startswith("fg")]
    whole, left, width = f"fg_{branch}", x - height / 6, height / 3
    box(ax, left - 10, y - height / 2 - 10, width + 20, height + 20, fill="#dbe7fa", edge=WHOLE)
    for name in stripes:
        colour, middle = HEADS[name]
        each = height / len(stripes) - 6
        ax.add_patch(patches.Rectangle((left, middle - each / 2), width, each, color=colour))
        arrow(ax, (left + width + 12, middle), (888, middle), color=colour)
    top, target = (x, y - height / 2 - 12), HEADS[whole][1]
    start = [top, (x, target)] if stripes else [(left + width + 12, y)]
    arrow(ax, *start, (888, target), color=WHOLE)


def head(ax: Axes, name: str) -> None:
    """Draw one head, its feature and its losses as a row."""
    colour, y = HEADS[name]
    box(ax, 890, y - 43, 536, 86, edge=colour)
    text(ax, 951, y, name, color=colour, **CODE)
    text(ax, 1012, y, "avg or max pool → 1×1 conv\n→ batch norm → ReLU or PReLU", ha="left")
    arrow(ax, (1428, y), (1486, y), color=colour)
    box(ax, 1488, y - 32, 70, 64, "256", fill=colour, edge=colour, color="white")
    losses = {"linear → softmax loss": y}
    if colour == WHOLE:
        losses = {"linear → softmax loss": y - 36, "triplet loss": y + 36}
    for loss, at in losses.items():
        arrow(ax, (1573, y), (1603, y), (1603, at), (1633, at))
        box(ax, 1635, at - 30, 325, 60, loss, edge=LOSS, style="--", color=LOSS)


def preprocess_and_postprocess(ax: Axes) -> None:
    """Draw the exported graph with pre- and postprocessing, and in it the plain export."""
    up, middle, down = 470, 660, 850
    text(ax, 40, 60, "Export with pre- and postprocessing", size=16, weight="bold", ha="left")
    sections = (
        ("preprocess", 40, 890),
        ("image and mirror image", 936, 1676),
        ("postprocess", 1703, 1960),
    )
    for title, left, right in sections:
        text(ax, (left + right) / 2, 138, title, color=SOFT, size=10)
        ax.plot((left, right), (168, 168), color=EDGE, lw=1.2)

    pedestrian(ax, 40, middle - 140, 190, 280)
    text(ax, 135, middle + 190, "image_tensor", **CODE | {"size": 9})
    text(ax, 135, middle + 265, "RGB 0–255\n[N, H, W, 3]\nany size")
    arrow(ax, (238, middle), (283, middle))
    box(
        ax,
        285,
        middle - 105,
        250,
        210,
        "resize to\nheight×width\nbicubic, antialias\nclip to 0–255",
    )
    arrow(ax, (537, middle), (588, middle))
    normalise = (
        "divided by 255\nminus mean\n(0.485, 0.456, 0.406)\ndivided by std\n(0.229, 0.224, 0.225)"
    )
    box(ax, 590, middle - 125, 300, 250, normalise)

    box(ax, 936, 205, 740, 440, edge=WHOLE, style="--")
    text(ax, 1306, 243, "plain export: this part alone", color=WHOLE, weight="bold")
    text(ax, 1306, 287, "image_tensor (normalised RGB) → person_embedding", color=WHOLE)
    for y, label, name in (
        (up, "image", "original_embedding"),
        (down, "mirror image", "flip_embedding"),
    ):
        arrow(ax, (892, middle), (914, middle), (914, y), (963, y))
        pedestrian(ax, 967, y - 129, 86, 258, mirrored=y == down)
        text(ax, 1010, y + 153, label)
        arrow(ax, (1061, y), (1123, y))
        box(ax, 1125, y - 70, 160, 140, "MGN", fill=PALE, weight="bold", size=12)
        arrow(ax, (1287, y), (1346, y))
        box(ax, 1348, y - 52, 306, 104, f"{name}\n[N, 2048]", family="monospace")
        arrow(ax, (1656, y), (1735, y), (1735, middle + (34 if y > middle else -34)))
    ax.plot((1205, 1205), (up + 72, down - 72), ":", color=LINE, lw=1.3)
    text(ax, 1222, 705, "same weights", color=SOFT, ha="left")

    ax.add_patch(patches.Circle((1735, middle), 32, fc="white", ec=INK, lw=1.2))
    text(ax, 1735, middle, "+", size=14)
    arrow(ax, (1769, middle), (1808, middle))
    box(ax, 1810, middle - 60, 150, 120, "L2\nnormalise")
    arrow(ax, (1885, middle + 62), (1885, 913))
    box(ax, 1680, 915, 280, 104, "result_embedding\n[N, 2048]", **CODE | {"size": 9})


def text(
    ax: Axes, x: float, y: float, words: str, *, size: float = 9, ha: str = "center", **style
) -> None:
    """Write `words` centred on (x, y), or with its left or right end there."""
    ax.text(
        x, y, words, size=size, ha=ha, va="center", linespacing=1.35, **({"color": INK} | style)
    )


def box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    words: str = "",
    *,
    fill: str = "white",
    edge: str = EDGE,
    style: str = "-",
    **font,
) -> None:
    """Draw a rounded box with its upper left corner at (x, y) and `words` in its middle."""
    shape = f"round,pad=0,rounding_size={min(12, height / 6)}"
    frame = {"fc": fill, "ec": edge, "ls": style, "lw": 1.2}
    ax.add_patch(patches.FancyBboxPatch((x, y), width, height, shape, **frame))
    text(ax, x + width / 2, y + height / 2, words, **font)


def arrow(ax: Axes, *points: tuple[float, float], color: str = LINE) -> None:
    """Draw an arrow through `points`."""
    line = {"lw": 1.3, "color": color, "joinstyle": "round"}
    ax.add_patch(
        patches.FancyArrowPatch(path=path.Path(points), arrowstyle="-|>", mutation_scale=9, **line)
    )


def pedestrian(
    ax: Axes, x: float, y: float, width: float, height: float, mirrored: bool = False
) -> None:
    """Draw an image of somebody walking with a bag in one hand."""
    box(ax, x, y, width, height, fill="#e3ebf4")
    side = -1 if mirrored else 1
    limbs = (  # colour, thickness, then the line, in hundredths of the height from the top's middle
        ("#8796ab", 1, (-11, 94), (11, 94)),
        ("#2b3a55", 6, (0, 52), (5, 72), (9, 91)),
        ("#364968", 6, (0, 52), (-3, 72), (-8, 91)),
        ("#e9b58e", 4, (0, 28), (-8, 40), (-9, 52)),
        ("#d2493f", 12, (0, 30), (0, 50)),
        ("#e9b58e", 4, (2, 29), (7, 41), (11, 50)),
        ("#d9a21b", 8, (11, 56), (11, 58)),
        ("#4a3426", 13, (-1, 13), (0, 12)),
        ("#e9b58e", 10, (1, 16), (2, 16)),
    )
    for colour, thickness, *line in limbs:
        us, vs = zip(*line, strict=True)
        across = [x + width / 2 + side * u * height / 100 for u in us]
        down = [y + v * height / 100 for v in vs]
        points = thickness * height / 100 * 72 / DPI
        ax.plot(
            across, down, color=colour, lw=points, solid_capstyle="round", solid_joinstyle="round"
        )


if __name__ == "__main__":
    main()

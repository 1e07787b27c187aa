"""A drawn pedestrian: a look that stays the same, and a body in some pose."""

import itertools
from types import SimpleNamespace

import cv2
import numpy as np

HEIGHT, WIDTH = 128, 64  # pixels of an image
SCALE = 4  # bodies and places are drawn this much larger, then averaged down
_ANGLES = np.linspace(0, 6.28, 24)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


def _palette(codes: str) -> np.ndarray:
    """Colours, int [N, 3], RGB from 0 to 255."""
    return np.reshape([*bytes.fromhex(codes)], (-1, 3))


_UPPER = _palette(
    "ebebe6 232328 cd2328 f0821e f0d232 32963c 1ea5af 284bc8 7832a0 f08cb4 784b2d 8c9196"
)
_LOWER = _palette("1e1e23 2d50a0 cdb487 e6e6e1 8c1e2d 506428 78787d 5f3c28")
_HAIR = _palette("191614 462d1c 78502d c8a55f 969696 82371e")
_SKIN = _palette("f0cdb4 dcaf8c b4825f 6e4b37")


def make_look(seed: int, person: int) -> SimpleNamespace:
    """What stays the same; no two share both main colours, any 24 in a row span both palettes."""
    shuffle = np.random.default_rng(seed)
    rng = np.random.default_rng((seed, person))
    row, column = divmod(person - 1, len(_UPPER))
    upper = shuffle.permutation(_UPPER)[column]
    lower = shuffle.permutation(_LOWER)[(row + column) % len(_LOWER)]
    contrasts = _UPPER[np.abs(_UPPER - upper).sum(1) > 200]
    palettes = {"upper": [upper], "second": contrasts, "lower": [lower], "hair": _HAIR}
    palettes |= {"skin": _SKIN, "shoes": _LOWER, "hat": _UPPER, "luggage": _UPPER}
    colours = {}
    for part, palette in palettes.items():  # in this order, for `rng` is drawn from here and below
        colours[part] = rng.choice(palette) + rng.integers(-12, 13, 3)
    return SimpleNamespace(
        **colours,
        width=rng.uniform(0.9, 1.2),  # of the body
        pattern=rng.choice(["plain", "plain", "rows", "columns", "checks", "blocks"]),
        garment=rng.choice(["trousers", "trousers", "skirt", "shorts"]),
        carries=rng.choice(["nothing", "nothing", "bag", "backpack"]),
        long_sleeves=rng.random() < 0.6,
        long_hair=rng.random() < 0.4,
        has_hat=rng.random() < 0.2,
    )


class Body:
    """A posed figure in the making; its points are in body heights from the middle of its top."""

    def __init__(self, rng: np.random.Generator, size: float, cut_off: bool):
        """Take up a pose; `cut_off` leaves half a person in the image, as a bad detection does."""
        turn = rng.integers(4)
        self.facing = (0, 1, 0, -1)[turn]  # eyes to the right 1, left -1
        self.back = turn == 2
        self.stride = rng.uniform(-1, 1)  # 1 right leg ahead, -1 left
        self.lean = rng.uniform(-0.03, 0.03)
        self.height = HEIGHT * size * rng.uniform(0.95, 1.04)  # pixels
        shift = rng.choice([-1, 1], 2) * rng.uniform(0.2, 0.4, 2) * cut_off
        self.feet = (rng.uniform((0.44, 0.94), (0.56, 0.97)) + shift) * (WIDTH, HEIGHT)
        self.layer = np.zeros((HEIGHT * SCALE, WIDTH * SCALE, 4), np.uint8)  # RGB and cover

    def part(self, colour: np.ndarray, *points: np.ndarray, where: np.ndarray | None = None):
        """Fill the convex hull of `points`, or only where a mask as large as the layer is set."""
        x, y = np.concatenate([np.atleast_2d(p) for p in points]).T
        pixels = np.stack([x + self.lean * (1 - y), y - 1], 1) * self.height + self.feet
        hull = cv2.convexHull((pixels * SCALE).round().astype(np.int32))
        paint = [*np.clip(colour, 0, 255).tolist(), 255]
        if where is None:
            cv2.fillConvexPoly(self.layer, hull, paint)
        else:
            inside = cv2.fillConvexPoly(np.zeros(self.layer.shape[:2], np.uint8), hull, 1)
            self.layer[(inside > 0) & where] = paint

    def limb(self, colour: np.ndarray, *joints: tuple[float, float, float]) -> None:
        """Fill a tapering tube through joints of (x, y, radius)."""
        for a, b in itertools.pairwise(joints):
            self.part(colour, _CIRCLE * a[2] + a[:2], _CIRCLE * b[2] + b[:2])

    def put_into(self, scene: np.ndarray, rng: np.random.Generator) -> None:
        """Lay the figure on `scene` with a shadow at its feet, folds, and light from one side."""
        feet = self.feet.round().astype(int).tolist()
        axes = round(self.height / 7), round(self.height / 40)
        shadow = cv2.ellipse(np.ones(scene.shape[:2]), feet, axes, 0, 0, 360, 0.65, -1)
        coarse = rng.normal(1, 0.06, (24, 12))
        folds = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        across = np.clip((np.arange(WIDTH) - self.feet[0]) / self.height, -0.1, 0.1)
        light = folds * (1 + rng.choice([-1.2, 1.2]) * across)
        small = cv2.resize(self.layer, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        scene *= (shadow * (1 - small[..., 3] / 255))[..., None]
        scene += small[..., :3] * light[..., None]


def draw_person(body: Body, look: SimpleNamespace) -> None:
    """Far parts first; side 1 is the right of the image or, seen from the side, the nearer one."""
    width = look.width * (0.75 if body.facing else 1.0)
    _draw_arm(body, look, width, -1)
    _draw_leg(body, look, width, -1)
    _draw_leg(body, look, width, 1)
    _draw_trunk(body, look, width)
    _draw_arm(body, look, width, 1)
    _draw_head(body, look)
    if look.carries == "backpack":  # from the front only its straps show
        apart, radius = (0.015, 0.05) if body.facing or body.back else (0.055, 0.012)
        for x in (-apart - 0.09 * body.facing, apart - 0.09 * body.facing):
            body.limb(look.luggage, (x, 0.2 + radius, radius), (x, 0.38, radius))


def _draw_leg(body: Body, look: SimpleNamespace, width: float, side: int) -> None:
    shade = 1.0 if side > 0 else 0.8
    swing = side * body.stride
    step = swing * (body.facing or 0.15)  # a step to or from the camera hardly moves the foot
    x = 0.0 if body.facing else 0.04 * width * side
    hip = (x, 0.53, 0.045 * width)
    knee = (x + 0.05 * step, 0.73, 0.037 * width)
    ankle = (x + 0.12 * step, 0.95 - 0.03 * max(0, -swing), 0.025)
    toe = (ankle[0] + 0.04 * body.facing, ankle[1] + 0.025, 0.02)
    body.limb(look.shoes * shade, (ankle[0], *toe[1:]), toe)
    body.limb(look.skin * shade, knee, ankle)
    body.limb(look.lower * shade, hip, knee, *([ankle] if look.garment == "trousers" else []))


def _draw_trunk(body: Body, look: SimpleNamespace, width: float) -> None:
    shoulder, hip = 0.085 * width, 0.075 * width
    hem, end = (1.5 * hip, 0.77) if look.garment == "skirt" else (hip, 0.56)
    body.part(look.lower, (-hip, 0.5), (hip, 0.5), (hem, end), (-hem, end))
    body.limb(look.skin * 0.9, (0, 0.13, 0.026), (0, 0.18, 0.03))
    outline = [(-0.04, 0.17), (0.04, 0.17), (-shoulder, 0.2), (shoulder, 0.2)]
    outline += [(hip, 0.53), (-hip, 0.53)]
    body.part(look.upper, *outline)
    body.part(look.second, *outline, where=_pattern(body, look.pattern))


def _pattern(body: Body, name: str) -> np.ndarray:
    """Where a garment has its second colour, bool [H, W] of the layer; tied to the body."""
    y, x = np.ogrid[: HEIGHT * SCALE, : WIDTH * SCALE]
    rows = (y / SCALE - body.feet[1]) // (0.045 * body.height) % 2 > 0
    columns = (x / SCALE - body.feet[0]) // (0.04 * body.height) % 2 > 0
    blocks = y / SCALE > body.feet[1] - 0.65 * body.height
    patterns = {"rows": rows, "columns": columns, "checks": rows ^ columns, "blocks": blocks}
    return patterns.get(name, np.False_)


def _draw_arm(body: Body, look: SimpleNamespace, width: float, side: int) -> None:
    shade = 0.82 if side > 0 else 0.7  # darker than the trunk, so that it stands out
    step = -side * body.stride * (body.facing or 0.1)  # against the leg
    x = 0.0 if body.facing else 0.1 * width * side
    shoulder = (x, 0.215, 0.03 * width)
    elbow = (1.2 * x + 0.05 * step, 0.37, 0.025 * width)
    hand = (1.25 * x + 0.12 * step + 0.02 * body.facing, 0.51, 0.02)
    body.limb(look.skin * shade, elbow, hand, (hand[0], 0.53, 0.022))
    body.limb(look.upper * shade, shoulder, elbow, *([hand] if look.long_sleeves else []))
    if side > 0 and look.carries == "bag":
        corners = itertools.product((hand[0] - 0.055, hand[0] + 0.055), (0.55, 0.66))
        body.part(look.luggage, *corners)


def _draw_head(body: Body, look: SimpleNamespace) -> None:
    ahead = 0.014 * body.facing
    if look.long_hair:
        body.limb(look.hair, (-ahead, 0.08, 0.05), (-2 * ahead, 0.165, 0.045))
    body.part(look.hair, _CIRCLE * (0.05, 0.062) + (-ahead / 2, 0.065))
    if not body.back:
        body.part(look.skin, _CIRCLE * (0.038, 0.05) + (ahead, 0.088))
    if look.has_hat:
        body.part(look.hat, *itertools.product((-0.05, 0.05), (0.0, 0.05)))
        body.limb(look.hat * 0.8, (-0.05 + 2 * ahead, 0.05, 0.008), (0.05 + 2 * ahead, 0.05, 0.008))

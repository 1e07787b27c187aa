"""Every constant and hyper-parameter, once."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mgn.config.variants import (
    CLASSIFIERS,
    FIELDS,
    HEIGHT,
    MEAN,
    POOLS,
    REDUCTIONS,
    STD,
    VARIANTS,
    WIDTH,
    NetworkOptions,
    check_network,
)
from mgn.system.errors import InputError

EMBEDDING_SIZE = 2048  # eight heads of 256
BODIES = ("backbone", "p1", "p2", "p3")  # what heads stand on: the backbone and three branches
REDUCTION_ORDERS = ("pytorch", "mgn-reid")  # how a file may number the heads' reductions
OPTIMIZERS = ("sgd", "adam", "amsgrad")
SCHEDULES = ("step", "cosine")
KERNEL_INITS = ("he", "uniform")
PRECISIONS = ("float32", "bfloat16", "float16")
INT8 = "int8"
EXPORT_PRECISIONS = (*PRECISIONS, INT8)
EXPORT_INPUTS = ("float32", "uint8", "jpeg")  # what an exported graph with preprocessing may take
EXPORT_MAX_PIXELS = 4096 * 4096  # of an encoded image, so that a small file cannot fill the memory
MOST_CALIBRATION_IMAGES = 256  # of which an eight-bit export keeps whole maps in memory
_MANY = 10**9
PREPROCESSING = "RGB 0-255, bicubic resize with antialias (Pillow's), / 255, minus mean, / std"
DECODING = (
    "libjpeg's accurate integer transform and fancy upsampling, as OpenCV and Pillow;"
    " grey, CMYK to RGB"
)


@dataclass(frozen=True)
class Int8:
    """How the whole numbers of an eight-bit export are chosen, and when it is kept."""

    calibration: Path | None = None  # folder or list of images; None: those of the run
    calibration_images: int = 64  # choose the ranges; half as many judge the export
    keep_float: int = 0  # convolutions that stay in float32
    int8_bound: float = 0.99  # least cosine of an image that judges

    def __post_init__(self):
        """Raise `InputError` that names the first field out of range."""
        _check_value("calibration_images", self.calibration_images, (1, MOST_CALIBRATION_IMAGES))
        _check_value("keep_float", self.keep_float, (0, _MANY))
        _check_value("int8_bound", self.int8_bound, (-1, 1))


@dataclass(frozen=True)
class Reduce:
    """Which smaller vectors an export gives."""

    file: Path  # `reduction.npz` of `evaluate.py --sizes`
    name: str  # a row of its table


def _group(group: str) -> Callable:
    """A function that makes the fields of one group of `--help`.

    It takes the default, the help of the field's flag, and what it may be: names, or the least and
    the largest number.
    """

    def option(default: object, text: str, allowed: tuple = ()) -> object:
        metadata = {"group": group, "help": text, "allowed": allowed}
        return dataclasses.field(default=default, metadata=metadata)

    return option


_recipe = _group("recipe")
_model = _group("model")
_optimizer = _group("optimiser")
_schedule = _group("schedule")
_loss = _group("loss")
_batch = _group("batches and augmentation")
_device = _group("precision and device")
_saved = _group("checkpoints and scores")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Flags of `train.py` have the names of these fields."""

    recipe: str = _recipe("seathiefwang", "named set of these options")
    pretrained: bool = _recipe(True, "expect --init_checkpoint, and warn without it")

    variant: str = _model(
        "mgn-pytorch", "published network: the options of this group at once", tuple(VARIANTS)
    )
    pool: str = _model("avg", "pooling of the heads; gem has a learned power a head", POOLS)
    reduction: str = _model(
        "relu", "what ends a head; neck: ReLU and one more batch norm", REDUCTIONS
    )
    stem_padding: int = _model(1, "zeros around the map that the stem pools: 1, or 0", (0, 1))
    p1_stride: int = _model(2, "stride of the last layer of p1: 2, or 1 as p2 and p3", (1, 2))
    ibn: bool = _model(False, "IBN-a: half of some batch norms is instance norm (arXiv:1807.09441)")
    extra_bn: bool = _model(False, "one more batch norm of each branch's map, before pooling")
    classifier: str = _model(
        "linear", "linear, or cosine without a bias, with circle softmax", CLASSIFIERS
    )
    mean: tuple[float, ...] = _model(MEAN, "of R, G and B, 0 to 255: taken off every image")
    std: tuple[float, ...] = _model(STD, "the deviation that every image is divided by")
    height: int = _model(HEIGHT, "image height, pixels, a multiple of 96")
    width: int = _model(WIDTH, "image width, pixels, a multiple of 32")
    zero_init_residual: bool = _model(False, "start blocks as the identity (arXiv:1706.02677)")
    kernel_init: str = _model(
        "he",
        "first values of kernels: He's (arXiv:1502.01852), or uniform, PyTorch's smaller ones",
        KERNEL_INITS,
    )

    optimizer: str = _optimizer("amsgrad", "sgd, adam or amsgrad", OPTIMIZERS)
    learning_rate: float = _optimizer(2e-4, "learning rate before warm-up and decay", (1e-12, 1e6))
    momentum: float = _optimizer(0.9, "momentum of sgd", (0, 1))
    nesterov: bool = _optimizer(False, "Nesterov momentum of sgd")
    weight_decay: float = _optimizer(5e-4, "L2 added to every gradient, as in PyTorch", (0, 1e3))
    average_decay: float = _optimizer(
        0.0,
        "moving average of the weights, which is then scored and exported; 0: none",
        (0, 0.999999),
    )

    freeze_steps: int = _optimizer(
        0, "steps at the start in which freeze_layers stand still", (0, _MANY)
    )
    freeze_layers: tuple[str, ...] = _optimizer(
        BODIES, f"what does: some of {', '.join(BODIES)}, the backbone and the three branches"
    )

    epochs: int = _schedule(400, "epochs; one is every person once, with K images", (1, _MANY))
    max_steps: int | None = _schedule(None, "stop after this many steps at most", (1, _MANY))
    schedule: str = _schedule("step", "how the learning rate falls: step or cosine", SCHEDULES)
    milestones: tuple[int, ...] = _schedule(
        (320, 380), "step: epochs after which the learning rate is multiplied by gamma"
    )
    gamma: float = _schedule(0.1, "step: factor at each milestone", (0, 1e3))
    cosine_start: int = _schedule(0, "cosine: epochs at full rate before it falls", (0, _MANY))
    final_learning_rate: float = _schedule(0.0, "cosine: rate after the last epoch", (0, 1e6))
    warmup_steps: int = _schedule(0, "steps of linear warm-up", (0, _MANY))
    warmup_factor: float = _schedule(0.0, "share of the rate that warm-up starts at", (0, 1))

    margin: float | None = _loss(
        1.2, "margin of the batch-hard triplet, embedding distance; 'none': soft margin", (0, 1e6)
    )
    cross_entropy_weight: float = _loss(1.0, "weight of the mean cross-entropy", (0, 1e6))
    triplet_weight: float = _loss(2.0, "weight of the mean triplet loss", (0, 1e6))
    triplet_start_step: int = _loss(0, "cross-entropy alone before this step", (0, _MANY))
    triplet_start_loss: float = _loss(
        0.0,
        "and until the cross-entropy's moving average was below this share of ln(identities),"
        " which guessing has; 0: whatever it is",
        (0, 1),
    )
    part_triplets: bool = _loss(
        False, "triplets of the two stripes of p2 and the three of p3 too, side by side"
    )
    label_smoothing: float = _loss(0.0, "label smoothing, 0 to 1", (0, 1))
    circle_scale: float = _loss(64.0, "scale of circle softmax (arXiv:2002.10857)", (1e-3, 1e4))
    circle_margin: float = _loss(0.35, "its margin, of cosines", (0, 1))

    batch_ids: int = _batch(16, "P: identities in a batch", (2, _MANY))
    batch_images: int = _batch(4, "K: images of each identity in a batch", (2, _MANY))
    random_erasing: float = _batch(0.5, "probability of erasing a part of an image, 0 to 1", (0, 1))
    crop_padding: int = _batch(0, "black pixels around an image before a random crop", (0, 1000))
    color_jitter: float = _batch(
        0.0, "change brightness, contrast and saturation by up to this share, 0 to 1", (0, 1)
    )
    seed: int = _batch(0, "seed of weights, batches and augmentation", (0, 2**31 - 1))
    cache: bool = _batch(False, "keep the resized images in memory: height x width x 3 bytes each")

    precision: str = _device(
        "float32",
        "type of the convolutions; float16 (GPUs) with loss scaling; the rest is float32",
        PRECISIONS,
    )
    winograd: bool = _device(
        False, "3x3 convolutions by fewer multiplications: on CPUs at 384x128; rounds more"
    )
    xla: bool = _device(False, "compile the step with XLA (GPUs)")
    sync_batch_norm: bool = _device(False, "batch statistics over all GPUs, not each its own")
    deterministic: bool = _device(False, "the same bits in every run; slower on GPUs")

    save_every: int = _saved(500, "steps between checkpoints; the last is always saved", (1, _MANY))
    keep_checkpoints: int = _saved(
        3, "checkpoints to keep; one older than the newest always stays", (1, _MANY)
    )
    eval_every: int = _saved(
        0, "steps between scores on query and gallery; the best is kept; 0: at the end", (0, _MANY)
    )
    early_stop: int = _saved(
        0, "stop after this many scores without a better mAP; 0: never", (0, _MANY)
    )
    evaluate_untrained: bool = _saved(False, "score the network before the first step too")

    def __post_init__(self):
        """Raise `InputError` that names the first field out of range."""
        check_network(self)
        for field in dataclasses.fields(self):
            _check_value(field.name, getattr(self, field.name), field.metadata["allowed"])
        for name in ("milestones", "freeze_layers", "mean", "std"):  # JSON brings a list
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in self.freeze_layers:
            if name not in BODIES:
                raise InputError(f"--freeze_layers {name}: choose of {', '.join(BODIES)}")
        if any(milestone < 1 for milestone in self.milestones):
            raise InputError(f"--milestones {self.milestones}: epochs are counted from 1")
        if self.schedule == "cosine" and self.cosine_start >= self.epochs:
            problem = f"--cosine_start {self.cosine_start}"
            raise InputError(f"{problem}: must be less than --epochs {self.epochs}")
        if self.early_stop and not self.eval_every:
            raise InputError(f"--early_stop {self.early_stop}: goes with --eval_every")

    def network_options(self, num_classes: int) -> NetworkOptions:
        """The part of this that a checkpoint's weights depend on."""
        names = "variant", "height", "width", "classifier", *FIELDS
        return NetworkOptions(num_classes, **{name: getattr(self, name) for name in names})

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """Build from `config.json`; a name that is not a field is an error, never ignored."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"unknown configuration field: {', '.join(unknown)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"a configuration field has the wrong type: {error}") from None


def _check_value(name: str, value: object, allowed: tuple) -> None:
    if value is None or not allowed:
        return
    if isinstance(allowed[0], str):
        if value not in allowed:
            raise InputError(f"--{name} {value}: choose one of {', '.join(allowed)}")
        return
    least, most = allowed
    if not least <= value <= most:  # NaN lies nowhere
        raise InputError(f"--{name} {value}: must lie between {least:g} and {most:g}")

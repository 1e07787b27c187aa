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

    recipe: str = _recipe("seathiefwang", "named set of the options below")
    pretrained: bool = _recipe(True, "the recipe is for pretrained weights: warn without any")

    variant: str = _model(
        "mgn-pytorch", "published network: sets the options of this group", tuple(VARIANTS)
    )
    pool: str = _model("avg", "pooling of the heads; gem learns a power for each head", POOLS)
    reduction: str = _model(
        "relu", "end of each head; neck: ReLU and one more batch norm", REDUCTIONS
    )
    stem_padding: int = _model(1, "padding of the first max pooling, 0 or 1", (0, 1))
    p1_stride: int = _model(2, "stride of the last layer of p1: 2, or 1 as in p2 and p3", (1, 2))
    ibn: bool = _model(False, "IBN-a: instance norm as half of some batch norms (arXiv:1807.09441)")
    extra_bn: bool = _model(False, "one more batch norm on each branch's map, before pooling")
    classifier: str = _model(
        "linear", "linear; or cosine: without a bias, with circle softmax", CLASSIFIERS
    )
    mean: tuple[float, ...] = _model(MEAN, "mean of R, G and B, 0 to 255, taken off every image")
    std: tuple[float, ...] = _model(STD, "deviation of R, G and B, 0 to 255, to divide by")
    height: int = _model(HEIGHT, "image height in pixels, a multiple of 96")
    width: int = _model(WIDTH, "image width in pixels, a multiple of 32")
    zero_init_residual: bool = _model(False, "start blocks as the identity (arXiv:1706.02677)")
    zero_init_identities: int = _model(0, "fewest identities for --zero_init_residual", (0, _MANY))
    kernel_init: str = _model(
        "he",
        "first values of kernels: He's (arXiv:1502.01852), or uniform, PyTorch's smaller ones",
        KERNEL_INITS,
    )

    optimizer: str = _optimizer("amsgrad", "optimiser of the weights", OPTIMIZERS)
    learning_rate: float = _optimizer(2e-4, "learning rate before warm-up and decay", (1e-12, 1e6))
    momentum: float = _optimizer(0.9, "momentum of SGD", (0, 1))
    nesterov: bool = _optimizer(False, "use Nesterov momentum with SGD")
    weight_decay: float = _optimizer(5e-4, "L2 penalty in every gradient, as in PyTorch", (0, 1e3))
    average_decay: float = _optimizer(
        0.0,
        "decay of the moving average of the weights, which is scored and exported; 0: none",
        (0, 0.999999),
    )

    freeze_steps: int = _optimizer(
        0, "steps at the start in which --freeze_layers are frozen", (0, _MANY)
    )
    freeze_layers: tuple[str, ...] = _optimizer(
        BODIES, f"layers to freeze for --freeze_steps: some of {', '.join(BODIES)}"
    )

    epochs: int = _schedule(400, "epochs; in each, every person once with K images", (1, _MANY))
    max_steps: int | None = _schedule(None, "most steps to train", (1, _MANY))
    schedule: str = _schedule("step", "how the learning rate falls", SCHEDULES)
    milestones: tuple[int, ...] = _schedule(
        (320, 380), "step schedule: epochs after which the rate is multiplied by --gamma"
    )
    gamma: float = _schedule(0.1, "step schedule: factor at each milestone", (0, 1e3))
    cosine_start: int = _schedule(0, "cosine schedule: epochs at full rate", (0, _MANY))
    final_learning_rate: float = _schedule(0.0, "cosine schedule: rate at its end", (0, 1e6))
    warmup_steps: int = _schedule(0, "steps of linear warm-up", (0, _MANY))
    warmup_factor: float = _schedule(0.0, "share of the rate at which warm-up starts", (0, 1))

    margin: float | None = _loss(
        1.2, "margin of the batch-hard triplet loss, as a distance; 'none': soft margin", (0, 1e6)
    )
    cross_entropy_weight: float = _loss(1.0, "weight of the mean cross-entropy", (0, 1e6))
    triplet_weight: float = _loss(2.0, "weight of the mean triplet loss", (0, 1e6))
    triplet_start_step: int = _loss(0, "step at which the triplet loss may join", (0, _MANY))
    triplet_start_loss: float = _loss(
        0.0,
        "the triplet loss joins once the moving average of the cross-entropy is below this share"
        " of ln(identities), that of guessing; 0: at once",
        (0, 1),
    )
    part_triplets: bool = _loss(
        False, "also triplets of the two stripes of p2, and of the three of p3, joined"
    )
    label_smoothing: float = _loss(0.0, "label smoothing of the cross-entropy, 0 to 1", (0, 1))
    circle_scale: float = _loss(64.0, "scale of circle softmax (arXiv:2002.10857)", (1e-3, 1e4))
    circle_margin: float = _loss(0.35, "margin of circle softmax", (0, 1))

    batch_ids: int = _batch(16, "P: identities in a batch", (2, _MANY))
    batch_images: int = _batch(4, "K: images of each identity in a batch", (2, _MANY))
    random_erasing: float = _batch(0.5, "probability of erasing a part of an image, 0 to 1", (0, 1))
    crop_padding: int = _batch(0, "black pixels around an image before a random crop", (0, 1000))
    color_jitter: float = _batch(
        0.0, "change brightness, contrast and saturation by up to this share, 0 to 1", (0, 1)
    )
    seed: int = _batch(0, "seed of weights, batches and augmentation", (0, 2**31 - 1))
    cache: bool = _batch(False, "keep the resized images in memory, height x width x 3 bytes each")

    precision: str = _device(
        "float32",
        "type of the convolutions; float16 (GPUs) with loss scaling; the rest is float32",
        PRECISIONS,
    )
    winograd: bool = _device(
        False, "fewer multiplications in 3x3 convolutions, for CPUs at 384x128; rounds more"
    )
    xla: bool = _device(False, "compile the step with XLA (GPUs)")
    sync_batch_norm: bool = _device(False, "batch statistics over all GPUs, not of each alone")
    deterministic: bool = _device(False, "bit-identical runs; slower on GPUs")

    save_every: int = _saved(500, "steps between checkpoints; the last is saved too", (1, _MANY))
    keep_checkpoints: int = _saved(3, "newest checkpoints to keep, two at least", (1, _MANY))
    eval_every: int = _saved(
        0, "steps between scores on query and gallery; keeps the best; 0: at the end", (0, _MANY)
    )
    early_stop: int = _saved(0, "scores without a better mAP that end a run; 0: never", (0, _MANY))
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
                raise InputError(f"--freeze_layers {name}: choose from {', '.join(BODIES)}")
        if any(milestone < 1 for milestone in self.milestones):
            raise InputError(f"--milestones {self.milestones}: epochs count from 1; use 1 or more")
        if self.schedule == "cosine" and self.cosine_start >= self.epochs:
            problem = f"--cosine_start {self.cosine_start}"
            raise InputError(f"{problem}: must be less than --epochs {self.epochs}")
        if self.early_stop and not self.eval_every:
            raise InputError(f"--early_stop {self.early_stop}: only with --eval_every; add it")

    def network_options(self, num_classes: int) -> NetworkOptions:
        """The part of this that a checkpoint's weights depend on."""
        names = "variant", "height", "width", "classifier", *FIELDS
        return NetworkOptions(num_classes, **{name: getattr(self, name) for name in names})

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """Build from `config.json`; a name that is not a field is an error, never ignored."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"unknown configuration field: {', '.join(unknown)}; remove it")
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(
                f"a configuration field has the wrong type ({error}); correct it"
            ) from None


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

"""Every constant and hyper-parameter, once; standard library only, so that `--help` needs no TensorFlow."""

import dataclasses
from dataclasses import dataclass

from mgn.system.errors import InputError

MEAN = (0.485, 0.456, 0.406)  # RGB, of images in 0 to 1: ImageNet's, as every MGN was trained with
STD = (0.229, 0.224, 0.225)
EMBEDDING_SIZE = 2048  # eight heads of 256
HEIGHT, WIDTH = 384, 128  # pixels; arXiv:1804.01438, section 4
POOLS = ("avg", "max")
REDUCTIONS = ("relu", "prelu")
REDUCTION_ORDERS = ("pytorch", "mgn-reid")  # how a file may number the heads' reductions
OPTIMIZERS = ("sgd", "adam", "amsgrad")
SCHEDULES = ("step", "cosine")
PRECISIONS = ("float32", "bfloat16", "float16")
EXPORT_INPUTS = ("float32", "uint8", "jpeg")  # what an exported graph with preprocessing may take
EXPORT_MAX_PIXELS = 4096 * 4096  # of an encoded image, so that a small file cannot fill the memory
_MANY = 10**9
_RANGES = {  # of TrainConfig's numbers
    "learning_rate": (1e-12, 1e6),
    "final_learning_rate": (0, 1e6),
    "warmup_factor": (0, 1),
    "momentum": (0, 1),
    "weight_decay": (0, 1e3),
    "margin": (0, 1e6),
    "cross_entropy_weight": (0, 1e6),
    "triplet_weight": (0, 1e6),
    "triplet_start_step": (0, _MANY),
    "label_smoothing": (0, 1),
    "random_erasing": (0, 1),
    "crop_padding": (0, 1000),
    "average_decay": (0, 0.999999),
    "batch_ids": (2, _MANY),
    "batch_images": (2, _MANY),
    "epochs": (1, _MANY),
    "max_steps": (1, _MANY),
    "gamma": (0, 1e3),
    "cosine_start": (0, _MANY),
    "warmup_steps": (0, _MANY),
    "seed": (0, 2**31 - 1),
    "save_every": (1, _MANY),
    "eval_every": (0, _MANY),
    "early_stop": (0, _MANY),
    "keep_checkpoints": (1, _MANY),
}
PREPROCESSING = "RGB 0-255, bicubic resize with antialias (Pillow's), / 255, minus mean, / std"
DECODING = "libjpeg's accurate integer transform and fancy upsampling, as OpenCV and Pillow; grey, CMYK to RGB"


def _option(default: object, text: str) -> object:
    """A field whose comment is also the help of its flag."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class NetworkOptions:
    """What a checkpoint's weights are for; stored beside each one, in `PREFIX.json`."""

    num_classes: int  # 0: without classifiers
    pool: str = "avg"
    reduction: str = "relu"
    height: int = HEIGHT
    width: int = WIDTH


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Flags of `train.py` have the names of these fields."""

    recipe: str = _option("seathiefwang", "named set of these options")
    optimizer: str = _option("amsgrad", "sgd, adam or amsgrad")
    learning_rate: float = _option(2e-4, "before warm-up and decay")
    momentum: float = _option(0.9, "of sgd")
    nesterov: bool = _option(False, "Nesterov momentum, of sgd")
    weight_decay: float = _option(
        5e-4, "L2 added to the gradient of all parameters, as PyTorch's optimisers do"
    )
    margin: float | None = _option(
        1.2, "of the batch-hard triplet, embedding distance; 'none': soft margin"
    )
    cross_entropy_weight: float = _option(1.0, "of the mean cross-entropy in the total loss")
    triplet_weight: float = _option(2.0, "of the mean triplet loss in the total loss")
    triplet_start_step: int = _option(0, "cross-entropy alone before this step")
    label_smoothing: float = _option(0.0, "0 to 1")
    random_erasing: float = _option(0.5, "probability for each image, 0 to 1")
    crop_padding: int = _option(
        0, "pixels of black around an image, of which a random part is cut out"
    )
    batch_ids: int = _option(16, "P: identities in a batch")
    batch_images: int = _option(4, "K: images of each person in a batch")
    epochs: int = _option(400, "one epoch: every person once, with K images; not every image")
    max_steps: int | None = _option(None, "stop after this many steps, before the epochs are over")
    schedule: str = _option("step", "of the learning rate: step or cosine")
    milestones: tuple[int, ...] = _option(
        (320, 380), "step: epochs after which the learning rate is multiplied by gamma"
    )
    gamma: float = _option(0.1, "step: factor at each milestone")
    cosine_start: int = _option(0, "cosine: epochs at full rate before it falls")
    final_learning_rate: float = _option(
        0.0, "cosine: what it falls to at the end of the last epoch"
    )
    warmup_steps: int = _option(0, "steps of linear warm-up")
    warmup_factor: float = _option(0.0, "share of the learning rate that warm-up starts from")
    average_decay: float = _option(
        0.0, "moving average of the weights, which is then what is scored and exported; 0: none"
    )
    zero_init_residual: bool = _option(
        False, "each block starts as the identity (arXiv:1706.02677)"
    )
    pretrained: bool = _option(True, "the recipe expects --init_checkpoint")
    height: int = _option(HEIGHT, "image height, pixels, a multiple of 96")
    width: int = _option(WIDTH, "image width, pixels, a multiple of 32")
    pool: str = _option("avg", "pooling of the heads, avg or max")
    reduction: str = _option("relu", "activation of the heads, relu or prelu")
    precision: str = _option(
        "float32",
        "of the convolutions; float16 (GPUs) with loss scaling; weights, losses and the like stay float32",
    )
    winograd: bool = _option(
        False,
        "3x3 convolutions by fewer multiplications: for CPUs and 384x128; rounds more in bfloat16",
    )
    xla: bool = _option(False, "compile the step with XLA (GPUs)")
    sync_batch_norm: bool = _option(False, "batch statistics over all GPUs, not each its own")
    deterministic: bool = _option(False, "the same bits in every run; slower on GPUs")
    cache: bool = _option(False, "keep the resized images in memory: height x width x 3 bytes each")
    seed: int = _option(0, "of weights, batches and augmentation")
    save_every: int = _option(500, "steps between checkpoints; the last step is always saved")
    keep_checkpoints: int = _option(3, "older ones are deleted, but for one of before the newest")
    eval_every: int = _option(
        0, "steps between scores on query and gallery; the best is kept; 0: at the end"
    )
    early_stop: int = _option(0, "stop after so many scores without a better mAP; 0: never")
    evaluate_untrained: bool = _option(
        False, "score the network before the first step too, to compare with"
    )

    def __post_init__(self):
        """Raise `InputError` that names the first field out of range."""
        check_network_options(self.height, self.width, self.pool, self.reduction)
        allowed_values = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}
        for name, allowed in allowed_values.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"--{name} {getattr(self, name)}: choose one of {', '.join(allowed)}"
                )
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # NaN lies nowhere
                raise InputError(f"--{name} {value}: must lie between {least:g} and {most:g}")
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON brings a list
        if any(milestone < 1 for milestone in self.milestones):
            raise InputError(f"--milestones {self.milestones}: epochs are counted from 1")
        if self.schedule == "cosine" and self.cosine_start >= self.epochs:
            raise InputError(
                f"--cosine_start {self.cosine_start}: must be less than --epochs {self.epochs}"
            )
        if self.early_stop and not self.eval_every:
            raise InputError(f"--early_stop {self.early_stop}: goes with --eval_every")

    def network_options(self, num_classes: int) -> NetworkOptions:
        """The part of this that a checkpoint's weights depend on."""
        return NetworkOptions(num_classes, self.pool, self.reduction, self.height, self.width)

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


def check_network_options(height: int, width: int, pool: str, reduction: str) -> None:
    """Raise `InputError` unless a network can be built with these options."""
    if height < 96 or height % 96:
        raise InputError(
            f"--height {height}: must be a multiple of 96 (three stripes of a map of height/16)"
        )
    if width < 32 or width % 32:
        raise InputError(f"--width {width}: must be a multiple of 32 (the network's total stride)")
    if pool not in POOLS:
        raise InputError(f"--pool {pool}: choose one of {', '.join(POOLS)}")
    if reduction not in REDUCTIONS:
        raise InputError(f"--reduction {reduction}: choose one of {', '.join(REDUCTIONS)}")

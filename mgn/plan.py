"""What a run will do, in words: people, steps, pictures, and every option."""

import dataclasses

from mgn.config import TrainConfig
from mgn.data import Split, steps_per_epoch


def describe(config: TrainConfig, split: Split, num_classes: int, total_steps: int, replicas: int) -> str:
    """Say what is ahead, counted in people, steps, pictures and passes over the set."""
    per_epoch, records = steps_per_epoch(num_classes, config.batch_ids), len(split.records)
    seen = total_steps / per_epoch * num_classes * config.batch_images
    spread = f" on {replicas} replicas" if replicas > 1 else ""
    return (
        f"training set: {num_classes} people, {records} pictures"
        f" ({split.junk} junk and {split.ignored} other files left out)\n"
        f"recipe {config.recipe}: {total_steps} steps of {config.batch_ids} people x"
        f" {config.batch_images} pictures{spread}; an epoch, every person once, is {per_epoch} steps;"
        f" {seen:,.0f} pictures in all, {seen / records:.1f} passes over the set;"
        f" {_rates(config, per_epoch)}\n"
        f"options: {options(config)}"
    )


def options(config: TrainConfig) -> str:
    """Every option of a configuration, as the flags that set it."""
    values = dataclasses.asdict(config)
    if config.max_steps is None:  # has no word for it
        del values["max_steps"]
    return " ".join(f"--{name} {_flag(value)}" for name, value in values.items())


def _flag(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _rates(config: TrainConfig, per_epoch: int) -> str:
    warm = f"{config.warmup_steps} steps of warm-up, " if config.warmup_steps else ""
    if config.schedule == "cosine":
        start, end = config.cosine_start * per_epoch, config.epochs * per_epoch
        return f"learning rate: {warm}down a cosine from step {start} to {end}"
    decays = ", ".join(str(milestone * per_epoch) for milestone in config.milestones)
    return f"learning rate: {warm}x{config.gamma:g} after steps {decays}"

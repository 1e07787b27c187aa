"""An alarm for runs that learn nothing: embeddings that become alike, a classifier that guesses."""

import logging
import math
from collections import deque

from mgn.config import TrainConfig
from mgn.training.stepper import Step

_WINDOW = 50  # steps that are looked at together: single losses jitter by some percent
_ALIKE = 0.25  # of the margin: other identities nearer than that on average
_GUESSING = 0.99  # of ln(identities), which is the cross-entropy of guessing
_PATIENCE = 20, 300  # epochs and steps, whichever is more, that a classifier may guess
log = logging.getLogger(__name__)


class Collapse:
    """Warns once of each kind; see `watch.Watch`.

    A triplet loss at its margin alone proves nothing: a run that learns passes there. In a collapse
    the distances themselves vanish, to other identities too (arXiv:1703.07737).
    """

    def __init__(self, config: TrainConfig, num_classes: int, per_epoch: int):
        """Take the number of training identities, and the steps of an epoch."""
        self._margin = math.log(2.0) if config.margin is None else config.margin  # softplus(0)
        self._has_margin = config.margin is not None
        self._guessing = math.log(num_classes) if config.classifier == "linear" else math.inf
        epochs, steps = _PATIENCE
        self._patience = config.warmup_steps + max(epochs * per_epoch, steps)
        self._negatives = deque(maxlen=_WINDOW)
        self._cross_entropies = deque(maxlen=_WINDOW)
        self._warned = set()

    def after_step(self, step: int, taken: Step, _last: bool) -> None:
        """See `Watch`."""
        figures = taken.figures
        if figures["triplet_weight"] > 0:
            self._negatives.append(figures["hardest_negative"])
        if step > self._patience:
            self._cross_entropies.append(figures["cross_entropy"])
        nearest = _mean(self._negatives)
        if nearest is not None and nearest < _ALIKE * self._margin:
            smaller = ", a smaller --margin, or --margin none" if self._has_margin else ""
            self._warn(
                "alike",
                f"step {step}: embeddings have become alike, and training will not recover: for"
                f" {_WINDOW} steps the hardest negative was {nearest:.3f} away on average, and the"
                f" loss of equal embeddings is {self._margin:.2f}. Start again with a lower"
                f" --learning_rate, more --warmup_steps, a later --triplet_start_step, a lower"
                f" --triplet_start_loss{smaller}",
            )
        loss = _mean(self._cross_entropies)
        if loss is not None and loss > _GUESSING * self._guessing:
            self._warn(
                "guesses",
                f"step {step}: the classifier guesses: for {_WINDOW} steps the cross-entropy was"
                f" {loss:.2f} on average, and ln(identities) is {self._guessing:.2f}. Start again"
                " with another --learning_rate, more --warmup_steps, or --init_checkpoint",
            )

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning(f"warning: {text}")


def _mean(values: deque) -> float | None:
    """None until the window is full."""
    return sum(values) / _WINDOW if len(values) == _WINDOW else None

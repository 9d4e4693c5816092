"""How sure the model is: the network's scores as probabilities that hold, by logistic regression (Platt, 1999).

The network alone is too sure of itself, and of an argument it says only how well each word fits. The weights are fitted
on the development set by `training.calibration` and kept with the model.
"""

import msgspec
import numpy as np

from .decoding import Floats

EVENT_FEATURES = ("constant", "logit of the trigger", "log type", "margin over the next type")
ARGUMENT_FEATURES = ("constant", "logit of its tags, by the word", "the event's confidence")
# Keeps logits finite where bfloat16 has rounded a probability to 0 or 1.
_EPSILON = 1e-4


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the features above. For arguments a correction of the constant follows for each slot."""

    event: list[float]
    argument: list[float]

    def fits(self, slots: int) -> bool:
        """Whether there is a weight for each feature."""
        return len(self.event) == len(EVENT_FEATURES) and len(self.argument) == len(ARGUMENT_FEATURES) + slots


def uncalibrated(slots: int) -> Calibration:
    """The network's own probabilities, for a model in training."""
    return Calibration(event=[0, 1, 1, 0], argument=[0, 1, 0, *[0] * slots])


def event_features(trigger: float, types: Floats) -> Floats:
    """Of an event: `trigger` is the probability that it is one, `types` [types] the log-probabilities of its type."""
    second, first = np.partition(types, -2)[-2:]
    return np.array([1, _logit(trigger), first, min(first - second, -np.log(_EPSILON))], dtype=np.float32)


def argument_features(tags: Floats, slot: int, slots: int, event_confidence: float) -> Floats:
    """Of an argument: `tags` [words] are the log-probabilities of its words' tags, `slot` its index of `slots`."""
    by_the_word = float(np.exp(tags.mean()))
    features = np.zeros(len(ARGUMENT_FEATURES) + slots, dtype=np.float32)
    features[: len(ARGUMENT_FEATURES)] = 1, _logit(by_the_word), event_confidence
    features[len(ARGUMENT_FEATURES) + slot] = 1
    return features


def probability(weights: list[float], features: Floats) -> float:
    """The logistic regression's answer."""
    return float(1 / (1 + np.exp(-np.dot(np.asarray(weights, dtype=np.float32), features))))


def _logit(value: float) -> float:
    value = min(max(value, _EPSILON), 1 - _EPSILON)
    return float(np.log(value / (1 - value)))

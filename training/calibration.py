"""Fit a model's confidence on the development set, and say how far it is off on articles that it was not fitted on.

    python -m training.calibration --model DIR --data FILE…

writes the weights into the model's `tidings.json`. An event is right if it overlaps a gold trigger (one to one) and has
its type; an argument, if its event is matched and span and role are right.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from services.contracts import Article
from services.extractor.confidence import (
    ARGUMENT_FEATURES,
    EVENT_FEATURES,
    Calibration,
    argument_features,
    event_features,
    probability,
)
from services.extractor.decoding import Floats
from services.extractor.extractor import EventScores, Extractor, best_tags, filler_spans

from .corpus import Passage, read_passages
from .evaluate import PASSAGES_AT_ONCE, scored_gold, scored_mention
from .scoring import ScoredEvent, bare, match

_FOLDS = 10
_BINS = 10
# A weight of 1 costs as much as an observation of probability 0.6: it only matters for slots with few arguments.
_RIDGE = 0.5


@dataclass(slots=True)
class Observation:
    """An event with what its confidence is read from, and whether it is right; so its arguments."""

    article: str
    scores: EventScores
    right: bool
    arguments: list[tuple[int, Floats, bool]] = field(default_factory=list)


def observe(extractor: Extractor, passages: list[Passage]) -> list[Observation]:
    """All events that the model finds in the passages."""
    observations = []
    for first in range(0, len(passages), PASSAGES_AT_ONCE):
        chunk = passages[first : first + PASSAGES_AT_ONCE]
        features = extractor.prepare([Article(id=passage.id, text=passage.text) for passage in chunk])
        scores = extractor.infer(features)
        tags = best_tags(scores)
        found: list[list[tuple[ScoredEvent, int]]] = [[] for _ in chunk]
        for index, event in enumerate(scores):
            window = features.windows[event.window]
            mention = extractor.mention(event, tags[index], window, features.sentences[window.article])
            found[window.article].append((scored_mention(mention), index))
        for passage, events in zip(chunk, found, strict=True):
            gold = [scored for event in passage.events if (scored := scored_gold(event))]
            truths = {id(guess): truth for guess, truth in match([event for event, _ in events], gold)}
            for event, index in events:
                truth = truths.get(id(event))
                observation = Observation(
                    passage.article or passage.id, scores[index], truth is not None and truth.type == event.type
                )
                right = [bare(passage.text, filler) for filler in truth.fillers] if truth else []
                spans = filler_spans(scores[index], tags[index], features.windows[scores[index].window])
                for filler, (slot, _, _, logs) in zip(event.fillers, spans, strict=True):
                    observation.arguments.append((slot, logs, bare(passage.text, filler) in right))
                observations.append(observation)
    return observations


def fit(observations: list[Observation], slots: int) -> Calibration:
    """The weights that make the observations likeliest."""
    rows = np.array([event_features(o.scores.trigger, o.scores.types) for o in observations])
    event = _logistic(rows, np.array([o.right for o in observations]), free=len(EVENT_FEATURES))
    confidences = [probability(event, row) for row in rows]
    arguments = [
        (argument_features(logs, slot, slots, confidence), right)
        for observation, confidence in zip(observations, confidences, strict=True)
        for slot, logs, right in observation.arguments
    ]
    argument = _logistic(
        np.array([row for row, _ in arguments]),
        np.array([right for _, right in arguments]),
        free=len(ARGUMENT_FEATURES),
    )
    return Calibration(event=event, argument=argument)


def cross_fitted_error(observations: list[Observation], slots: int) -> tuple[float, float]:
    """Expected calibration error of events and of arguments: each article judged by weights fitted on the others."""
    articles = sorted({observation.article for observation in observations})
    folds = {article: index % _FOLDS for index, article in enumerate(np.random.default_rng(0).permutation(articles))}
    events: list[tuple[float, bool]] = []
    arguments: list[tuple[float, bool]] = []
    for fold in range(_FOLDS):
        weights = fit([o for o in observations if folds[o.article] != fold], slots)
        for observation in observations:
            if folds[observation.article] == fold:
                scores = observation.scores
                confidence = probability(weights.event, event_features(scores.trigger, scores.types))
                events.append((confidence, observation.right))
                for slot, logs, right in observation.arguments:
                    row = argument_features(logs, slot, slots, confidence)
                    arguments.append((probability(weights.argument, row), right))
    return expected_calibration_error(events), expected_calibration_error(arguments)


def expected_calibration_error(judged: list[tuple[float, bool]]) -> float:
    """How far confidence is from the share that is right, on average over ten bins of equal mass."""
    ordered = np.array(sorted(judged, key=lambda pair: pair[0]), dtype=np.float64)
    bins = np.array_split(ordered, _BINS)
    return float(sum(abs(part[:, 0].mean() - part[:, 1].mean()) * len(part) for part in bins) / len(ordered))


def _logistic(rows: Floats, right: NDArray[np.bool_], *, free: int) -> list[float]:
    """Weights with a ridge on all but the first `free` ones."""
    sign = np.where(right, 1.0, -1.0)
    ridge = np.r_[np.zeros(free), np.full(rows.shape[1] - free, _RIDGE)]

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (rows @ weights)
        pull = -sign / (1 + np.exp(margin))
        return float(np.logaddexp(0, -margin).sum() + ridge @ weights**2), rows.T @ pull + 2 * ridge * weights

    found = minimize(cost, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B")
    return [round(float(weight), 4) for weight in found.x]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="corpus files, gzipped or not")
    options = parser.parse_args()
    extractor = Extractor.load(options.model)
    observations = observe(extractor, [passage for path in options.data for passage in read_passages(path)])
    slots = len(extractor.network.config.slots)
    events, arguments = cross_fitted_error(observations, slots)
    file = options.model / "tidings.json"
    card = json.loads(file.read_text()) | {"calibration": msgspec.to_builtins(fit(observations, slots))}
    file.write_text(json.dumps(card, indent=2) + "\n")
    print(f"expected calibration error, cross-fitted: {events:.3f} of {len(observations)} events, ", end="")
    print(f"{arguments:.3f} of {sum(len(o.arguments) for o in observations)} arguments")


if __name__ == "__main__":
    main()

"""Confidence: what it is read from, and that it is as often right as it says."""

import numpy as np
import pytest

from services.extractor.confidence import argument_features, event_features, probability
from services.extractor.extractor import EventScores, Extractor
from services.settings import ROOT
from training.calibration import Observation, cross_fitted_error, expected_calibration_error, fit

CALIBRATION = Extractor.load(ROOT / "models" / "tidings-small").calibration
NONE = np.zeros(0, dtype=np.float32)


def event(trigger: float, kind: float) -> EventScores:
    """With a trigger of this probability, and a type of that one against another."""
    types = np.log(np.array([kind, 1 - kind], dtype=np.float32))
    return EventScores(0, 0, 1, 0, trigger, types, NONE, NONE, NONE, NONE)


def confidence(trigger: float, kind: float) -> float:
    return probability(CALIBRATION.event, event_features(trigger, event(trigger, kind).types))


def test_a_surer_trigger_and_a_surer_type_make_a_surer_event() -> None:
    assert confidence(0.7, 0.6) < confidence(0.99, 0.6) < confidence(0.99, 0.99)


def test_an_argument_is_the_surer_the_surer_its_event_and_its_words_are() -> None:
    def argument(word: float, of_event: float) -> float:
        tags = np.log(np.array([word, word], dtype=np.float32))
        return probability(CALIBRATION.argument, argument_features(tags, 0, 11, of_event))

    assert argument(0.6, 0.5) < argument(0.95, 0.5) < argument(0.95, 0.9)


@pytest.mark.parametrize(("trigger", "kind"), [(1.0, 1 - 1e-7), (0.0, 1e-7)])
def test_confidence_is_a_probability_at_the_ends_as_well(trigger: float, kind: float) -> None:
    assert 0 <= confidence(trigger, kind) <= 1


def test_a_network_that_is_too_sure_is_corrected() -> None:
    random = np.random.default_rng(0)
    observations = []
    for article in range(200):
        for claimed in random.uniform(0.6, 0.99, 10):
            # It says 0.9 where it is right in 0.7 of the cases, and so on.
            right = bool(random.random() < claimed - 0.2)
            one_in_two = (0, np.log(np.array([0.9], dtype=np.float32)), bool(random.random() < 0.5))
            observations.append(Observation(str(article), event(claimed, 0.99), right, [one_in_two]))
    events, arguments = cross_fitted_error(observations, slots=1)
    assert events < 0.05
    assert arguments < 0.05
    fitted = fit(observations, slots=1)
    assert probability(fitted.event, event_features(0.9, event(0.9, 0.99).types)) == pytest.approx(0.7, abs=0.06)


def test_the_calibration_error_is_the_distance_between_claim_and_truth() -> None:
    assert expected_calibration_error([(0.9, index % 10 < 7) for index in range(1000)]) == pytest.approx(0.2, abs=0.01)

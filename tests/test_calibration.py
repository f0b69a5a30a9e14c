"""What a reader's confidence is worth."""

import numpy as np
import pytest

from hpa_jax import calibration


def test_calibration_error():
    confidence = np.repeat([0.25, 0.85], [4, 20])
    right = np.array([1, 0, 0, 0] + [1] * 17 + [0] * 3, bool)
    assert calibration.expected_calibration_error(confidence, right) == pytest.approx(0)
    assert calibration.expected_calibration_error(confidence, ~right) == pytest.approx(
        (4 * 0.5 + 20 * 0.7) / 24
    )
    assert calibration.expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_threshold():
    confidence = np.array([0.9, 0.8, 0.7, 0.7, 0.2])
    right = np.array([True, True, True, False, True])
    assert calibration.threshold(confidence, right) == (0.8, 2, 2)  # equal ones stay together
    assert calibration.threshold(confidence, ~right) == (float("inf"), 0, 0)
    # One wrong in 200 is enough: the wrong one above is made up for by as many below it.
    many = np.append(confidence, np.full(195, 0.1))
    assert calibration.threshold(many, np.append(right, np.ones(195, bool))) == (0.1, 199, 200)
    assert calibration.threshold(many[:-1], np.append(right, np.ones(194, bool))) == (0.8, 2, 2)


def test_a_temperature_makes_confidence_the_share_of_right_plates():
    # Two plates of two characters, each of probability sigmoid(logit / T).
    for logit in (1, 2):
        high = 1 / (1 + np.exp(-logit))
        probabilities = np.tile([high, 1 - high], (2, 2, 1))
        # Half of the plates are right: sigmoid(logit / T) ** 2 = 1 / 2.
        expected = logit / np.log(1 / (np.sqrt(2) - 1))
        fitted = calibration.fit_temperature(probabilities, np.array([True, False]))
        assert fitted == pytest.approx(expected, rel=0.04)
    # Good readers are nearly always sure and right: what they are sure of is told apart too.
    good = np.tile([1 / (1 + np.exp(-8)), 1 / (1 + np.exp(8))], (1000, 1, 1))
    fitted = calibration.fit_temperature(good, np.arange(1000) >= 2)
    assert fitted == pytest.approx(8 / np.log(998 / 2), rel=0.04)
    # One that is sure and wrong is a great error, not an infinite one: four to one, it tells much.
    sure = np.append(np.tile(probabilities[:1], (8, 1, 1)), np.tile([1.0, 0.0], (1, 2, 1)), axis=0)
    assert 1 < calibration.fit_temperature(sure, np.arange(9) < 4) < 4
    certain = np.tile([1 / (1 + np.exp(-20)), 1 / (1 + np.exp(20))], (2, 2, 1))
    with pytest.raises(ValueError, match="no temperature from 0.25 to 4.0 calibrates it"):
        calibration.fit_temperature(certain, np.array([True, False]))
    unsure = np.tile([0.51, 0.49], (100, 2, 1))  # and nearly always right
    with pytest.raises(ValueError, match="no temperature from 0.25 to 4.0 calibrates it"):
        calibration.fit_temperature(unsure, np.arange(100) > 0)
    for alike, says in ((True, "2 of 2"), (False, "0 of 2")):
        with pytest.raises(ValueError, match=f"{says} plates were read right"):
            calibration.fit_temperature(probabilities, np.array([alike, alike]))

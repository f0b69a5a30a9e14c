"""How reliable a reader's confidence is, which threshold to use, and temperature scaling.

Of n plates, `confidence` is n float in [0, 1], and `right` n bool: whether all was read right.
"""

import jax
import numpy as np

WANTED = 0.995  # share of accepted plates that should be right
BINS = 10  # of confidence, equally wide
TEMPERATURES = (0.25, 4.0)  # the lowest and the highest tried


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[tuple[int, float, float]]:
    """Returns for each bin of confidence: plates, their mean confidence, the share right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [(0, 0.0, 0.0)] * BINS
    for i in set(bins.tolist()):
        chosen = bins == i
        rows[i] = int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean())
    return rows


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Returns the mean of |mean confidence - share right| over bins, weighted by their plates."""
    return sum(n * abs(c - r) for n, c, r in reliability(confidence, right)) / len(right)


def threshold(confidence: np.ndarray, right: np.ndarray) -> tuple[float, int, int]:
    """Finds the lowest threshold at which at least `WANTED` of the accepted plates are right.

    Returns:
      The threshold, the number of right plates among those accepted (with at least this
      confidence), and the number accepted; infinity and zeros if there is no such threshold.
    """
    order = np.argsort(-confidence)
    rights = np.cumsum(right[order])
    accepted = np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)  # equal confidences stay together
    enough = np.flatnonzero((rights >= WANTED * accepted) & last)
    if not len(enough):
        return float("inf"), 0, 0
    i = enough[-1]
    return float(confidence[order[i]]), int(rights[i]), int(accepted[i])


def printed(confidence: np.ndarray | float) -> np.ndarray:
    """Truncates confidences to four decimals, as commands print them.

    Not rounded: a printed value must not pass a threshold that the confidence itself misses.
    """
    return np.floor(np.asarray(confidence) * 1e4) / 1e4


def fit_temperature(probabilities_BCK: np.ndarray, right: np.ndarray) -> float:
    """Returns the temperature at which confidence, as the probability of `right`, fits best.

    `hpa_jax.export --temperature` applies it. Fit it on plates used for neither training nor tests.

    Args:
      probabilities_BCK: B×Cp×outputs, as `Recognizer.probabilities` returns them.
      right: B bool: whether each plate was read right.

    Raises:
      ValueError: all plates were right, or all wrong; or the best temperature is an end of
        TEMPERATURES, or lies beyond.
    """
    if right.all() or not right.any():
        raise ValueError(
            f"{right.sum()} of {len(right)} plates were read right, and a temperature is fitted on "
            "some right and some wrong ones: give more plates"
        )
    # Logits up to a constant; finite even where float32 rounds a probability to 0.
    logits_BCK = np.log(np.maximum(probabilities_BCK, np.finfo(np.float32).tiny))

    def log_loss(temperature: float) -> float:
        characters = jax.nn.softmax(logits_BCK / temperature).max(axis=-1)
        confidence = np.clip(characters.prod(axis=-1), 1e-6, 1 - 1e-6)
        return -np.log(np.where(right, confidence, 1 - confidence)).mean()

    low, high = TEMPERATURES
    best = float(min(np.geomspace(low, high, 81), key=log_loss))
    if best in TEMPERATURES:
        raise ValueError(f"no temperature from {low} to {high} calibrates it: train it longer")
    return best

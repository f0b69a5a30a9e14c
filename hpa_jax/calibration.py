"""What a reader's confidence is worth: reliability, thresholds, and a temperature that mends it.

Of n plates, `confidence` is n float in [0, 1] and `right` n bool: whether all was read right.
"""

import jax
import numpy as np

WANTED = 0.995  # share of accepted plates that should be right
BINS = 10  # of confidence, equally wide
TEMPERATURES = (0.25, 4.0)  # that are tried


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[tuple[int, float, float]]:
    """For each bin of confidence: plates, their mean confidence, the share of them right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [(0, 0.0, 0.0)] * BINS
    for i in set(bins.tolist()):
        chosen = bins == i
        rows[i] = int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean())
    return rows


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """|mean confidence - share right|, weighted over bins."""
    return sum(n * abs(c - r) for n, c, r in reliability(confidence, right)) / len(right)


def threshold(confidence: np.ndarray, right: np.ndarray) -> tuple[float, int, int]:
    """The lowest confidence from which on at least `WANTED` of the plates are right.

    Returns:
      The confidence, how many of the plates with it or more are right, and how many they are;
      infinity and zeros if there is none.
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
    """A confidence to four digits, as commands print it.

    Cut off, not rounded: what is printed passes no threshold that the reading does not reach.
    """
    return np.floor(np.asarray(confidence) * 1e4) / 1e4


def fit_temperature(probabilities_BCK: np.ndarray, right: np.ndarray) -> float:
    """The temperature that makes confidence most likely, given which plates were right.

    `hpa_jax.export --temperature` builds it in. Fit it on plates that neither trained nor measure.

    Args:
      probabilities_BCK: of each plate, as `Recognizer.probabilities` gives them.
      right: whether each was read right.

    Raises:
      ValueError: all plates were right, or all wrong: nothing shows what confidence is worth; or
        the best temperature lies outside TEMPERATURES.
    """
    if right.all() or not right.any():
        raise ValueError(
            f"{right.sum()} of {len(right)} plates were read right, and a temperature is fitted on "
            "some right and some wrong ones: give more plates"
        )
    # Logits but for a constant; float32 rounds those of next to no probability to 0.
    logits_BCK = np.log(np.maximum(probabilities_BCK, np.finfo(np.float32).tiny))

    def log_loss(temperature: float) -> float:
        characters = jax.nn.softmax(logits_BCK / temperature).max(axis=-1)
        confidence = np.clip(characters.prod(axis=-1), 1e-6, 1 - 1e-6)
        return -np.log(np.where(right, confidence, 1 - confidence)).mean()

    low, high = TEMPERATURES
    best = float(min(np.geomspace(low, high, 81), key=log_loss))
    if best in TEMPERATURES:
        raise ValueError(f"no temperature from {low} to {high} calibrates it: train it on")
    return best

"""AOLP's and Media Lab's protocols (paper, "Datasets"): prepared splits to train and to test on.

Splits are written as TFDS writes them: "ac+rp", "train[:90%]".
"""

import dataclasses

from hpa_jax.data import media_lab


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Splits to train on, and splits to test on by the name of the result."""

    train: str
    test: dict[str, str]


def aolp(test: str, le: int = 582) -> Protocol:
    """Trains on two of AOLP's sub-sets and tests on the third.

    Args:
      test: AC, LE or RP.
      le: how many LE plates are used: 582 as in the paper, or all 757. With LE as the test set both
        are reported whatever is chosen here.

    Raises:
      ValueError: no such sub-set or count.
    """
    if le not in (582, 757):
        raise ValueError(f"le={le}: AOLP's LE has 582 plates in the paper, 757 officially")
    whole_le = "le582+le175"
    splits = {"AC": "ac", "LE": "le582" if le == 582 else whole_le, "RP": "rp"}
    if test not in splits:
        raise ValueError(f"test={test!r} should be one of {', '.join(splits)}")
    train = "+".join(split for name, split in splits.items() if name != test)
    if test == "LE":
        return Protocol(train, {"LE582": "le582", "LE757": whole_le})
    return Protocol(train, {test: splits[test]})


def media_lab_fold(fold: int) -> Protocol:
    """Tests on one fold of Media Lab's normal sub-set, trains on the others and the difficult one.

    Raises:
      ValueError: no such fold.
    """
    folds = range(media_lab.FOLDS)
    if fold not in folds:
        raise ValueError(f"fold={fold} should be one of {', '.join(map(str, folds))}")
    train = [f"fold{i}" for i in folds if i != fold]
    return Protocol("+".join([*train, "difficult"]), {f"fold{fold}": f"fold{fold}"})

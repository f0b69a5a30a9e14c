"""AOLP's and Media Lab's protocols (paper, "Datasets"): the splits to train and to test on.

Splits are written as TFDS writes them: "ac+rp", "train[:90%]".
"""

import dataclasses

from hpa_jax.data import media_lab


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The splits to train on, and those to test on by the name of the result."""

    train: str
    test: dict[str, str]


def aolp(test: str, le: int = 582) -> Protocol:
    """Returns the protocol that trains on two of AOLP's subsets and tests on the third.

    Args:
      test: AC, LE or RP.
      le: how many LE plates to train on: 582, as in the paper, or all 757. With test="LE" it has
        no effect: the results on both are reported.

    Raises:
      ValueError: no such subset or count.
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
    """Returns the protocol that tests on one fold of Media Lab and trains on all other plates.

    Raises:
      ValueError: no such fold.
    """
    folds = range(media_lab.FOLDS)
    if fold not in folds:
        raise ValueError(f"fold={fold} should be one of {', '.join(map(str, folds))}")
    train = [f"fold{i}" for i in folds if i != fold]
    return Protocol("+".join([*train, "difficult"]), {f"fold{fold}": f"fold{fold}"})

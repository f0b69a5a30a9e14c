"""The report on a prepared data set, as text for people and as JSON for programs."""

import collections
import dataclasses

from hpa_jax.charset import Charset

SHOWN = 20  # items of a long list in the printed report; the JSON has all


@dataclasses.dataclass
class Report:
    """What was found while a data set was prepared.

    Attributes:
      name: the data set's name.
      expected: published numbers of plates by split, one per release; empty if there are none.
      counts: plates prepared, by split.
      positions: by split, for each position the count of each character there.
      lengths: by split, number of characters -> number of plates.
      with_boxes: by split, how many plates have character boxes, which LS and LP need.
      missed: by split, how many plates the detector missed.
      unseen: characters of the charset that do not occur in the data.
      duplicates: groups of plates with identical image and box, with their texts if these differ.
      shared_texts: number of texts in more than one split: the same car, or the same photograph.
      bad: the errors of what was left out, each with its file.
      without_text: number of scenes without a plate and of plates without a known text.
      whole_images: number of plates without a box, which fill their image.
    """

    name: str
    expected: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    positions: dict[str, list[dict[str, int]]] = dataclasses.field(default_factory=dict)
    lengths: dict[str, dict[int, int]] = dataclasses.field(default_factory=dict)
    with_boxes: dict[str, int] = dataclasses.field(default_factory=dict)
    missed: dict[str, int] = dataclasses.field(default_factory=dict)
    unseen: str = ""
    duplicates: list[str] = dataclasses.field(default_factory=list)
    shared_texts: int = 0
    bad: list[str] = dataclasses.field(default_factory=list)
    without_text: int = 0
    whole_images: int = 0

    def __str__(self) -> str:
        lines = [f"{self.name}: {sum(self.counts.values())} plates"]
        for split, count in sorted(self.counts.items()):
            published = self.expected.get(split, (count,))
            either = " or ".join(map(str, published))
            note = "" if count in published else f"  (published: {either})"
            lengths = ", ".join(f"{n} of {k}" for k, n in sorted(self.lengths[split].items()))
            lines.append(f"  {split:12} {count:8}  characters a plate: {lengths or 'none'}{note}")
        missing = [split for split in self.expected if split not in self.counts]
        if missing:
            lines.append(f"  published and not there: {', '.join(missing)}")
        lines.append(f"  with character boxes: {_by_split(self.with_boxes) or 'none'}")
        if any(self.missed.values()):
            lines.append(f"  missed by the detector, wrong in a test: {_by_split(self.missed)}")
        if self.without_text:
            lines.append(f"  without a plate or its text, left out: {self.without_text}")
        if self.whole_images:
            lines.append(f"  without a box, the whole image is the plate: {self.whole_images}")
        if self.unseen:
            lines.append(f"  characters never seen: {self.unseen}")
        lines.append(f"  texts that several splits share: {self.shared_texts}")
        lines += _listing("duplicates", self.duplicates)
        lines += _listing("unreadable or mislabelled, left out", self.bad)
        return "\n".join(lines)


def _by_split(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {split}" for split, count in sorted(counts.items()) if count)


def _listing(title: str, items: list[str]) -> list[str]:
    more = [f"    … and {len(items) - SHOWN} more in report.json"] if len(items) > SHOWN else []
    return [f"  {title}: {len(items)}", *(f"    {item}" for item in items[:SHOWN]), *more]


class Statistics:
    """Counts plates one by one, and fills a report at the end."""

    def __init__(self) -> None:
        self._lengths = collections.defaultdict(collections.Counter)
        self._with_boxes, self._missed = collections.Counter(), collections.Counter()
        self._positions = collections.defaultdict(
            lambda: collections.defaultdict(collections.Counter)
        )
        self._same: dict[str, list[tuple[str, str, str]]] = collections.defaultdict(list)
        self._splits_of_text: dict[str, set[str]] = collections.defaultdict(set)

    def add(
        self, split: str, name: str, text: str, digest: str, has_boxes: bool, missed: bool
    ) -> None:
        """Counts one plate; `digest` is a hash of its image and box."""
        self._lengths[split][len(text)] += 1
        self._with_boxes[split] += has_boxes
        self._missed[split] += missed
        for position, character in enumerate(text):
            self._positions[split][position][character] += 1
        self._same[digest].append((split, name, text))
        self._splits_of_text[text].add(split)

    def fill(self, report: Report, charset: Charset | None) -> None:
        """Writes the counts into a report."""
        report.counts = {split: sum(n.values()) for split, n in self._lengths.items()}
        report.lengths = {split: dict(n) for split, n in self._lengths.items()}
        report.with_boxes, report.missed = dict(self._with_boxes), dict(self._missed)
        report.positions = {
            split: [dict(by_position[i]) for i in sorted(by_position)]
            for split, by_position in self._positions.items()
        }
        seen = set("".join(self._splits_of_text))
        report.unseen = "".join(c for c in charset.characters if c not in seen) if charset else ""
        report.duplicates = sorted(_describe(same) for same in self._same.values() if len(same) > 1)
        report.shared_texts = sum(len(splits) > 1 for splits in self._splits_of_text.values())


def _describe(same: list[tuple[str, str, str]]) -> str:
    names = " is ".join(f"{name} of {split}" for split, name, _ in sorted(same))
    texts = sorted({text for _, _, text in same})
    return names if len(texts) == 1 else f"{names}, labelled {' and '.join(texts)}"

"""The records of a prepared data set: plate crops in ArrayRecord, with TFDS's description.

`tfds.builder_from_directory(directory)` opens a prepared set; none of this needs TensorFlow.
"""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Collection

import numpy as np

from hpa_jax.data.plate import Box, DataError
from hpa_jax.data.report import Report

try:
    import array_record  # noqa: F401  which `shards` writes with; not available on Windows
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import example_serializer
    from tensorflow_datasets.proto import tf_example_pb2
except ImportError as error:
    raise ImportError(
        f"{error.name} is missing, and data sets of files need it: pip install 'hpa_jax[tfds]', "
        "but not on Windows, for which there is no array_record"
    ) from error

REPORT = "report.json"
INFO = "dataset_info.json"  # TFDS's, written last
FEATURES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(
            shape=(None, None, 3), encoding_format="jpeg", doc="The plate, with margin."
        ),
        "text": tfds.features.Text(doc="The characters in reading order."),
        "name": tfds.features.Text(doc="Where it comes from."),
        "box": tfds.features.Tensor(
            shape=(4,), dtype=np.float32, doc="x1, y1, x2, y2 of the plate in the image, pixels."
        ),
        "characters": tfds.features.Tensor(
            shape=(None, 4, 2),
            dtype=np.float32,
            doc="Each character's corners, x, y, clockwise from left-top; none if unknown.",
        ),
        "missed": tfds.features.Scalar(np.bool_, doc="A detector missed it: wrong in a test."),
    }
)
_SERIALIZER = example_serializer.ExampleSerializer(FEATURES.get_serialized_info())


@dataclasses.dataclass(frozen=True)
class Record:
    """A plate crop as stored (see FEATURES); `image` is encoded."""

    image: bytes
    text: str
    name: str
    box: Box
    characters: np.ndarray
    missed: bool = False


def serialise(record: Record) -> bytes:
    """Returns a record as the bytes of a tf.train.Example."""
    fields = dataclasses.asdict(record)
    fields["box"] = np.array(record.box, np.float32)
    fields["characters"] = record.characters.astype(np.float32)
    example = _SERIALIZER.get_tf_example(FEATURES.encode_example(fields))
    return example.SerializeToString(deterministic=True)


def parse(data: bytes) -> Record:
    """Returns the record that `serialise` wrote; 15 times as fast as TFDS's general parser."""
    feature = tf_example_pb2.Example.FromString(data).features.feature
    return Record(
        image=feature["image"].bytes_list.value[0],
        text=feature["text"].bytes_list.value[0].decode(),
        name=feature["name"].bytes_list.value[0].decode(),
        box=tuple(feature["box"].float_list.value),
        characters=np.array(feature["characters"].float_list.value, np.float32).reshape(-1, 4, 2),
        missed=any(feature["missed"].int64_list.value),  # older sets lack this field
    )


class Source:
    """Random access to the serialised records of a split: `len(source)`, `source[i]`; picklable."""

    def __init__(self, directory: str | os.PathLike, split: str) -> None:
        """Opens a split of a prepared set.

        Args:
          directory: the prepared set.
          split: as TFDS writes splits: "ac+rp", "train[:90%]".

        Raises:
          DataError: there is no prepared set, it is damaged, or the split is missing or empty.
        """
        directory = pathlib.Path(directory)
        if not (directory / INFO).is_file():
            raise _nothing_prepared(directory)
        try:
            builder = tfds.builder_from_directory(directory)
        except Exception as error:  # TFDS and Protobuf raise almost anything for damaged files
            raise DataError(directory, f"is damaged ({error}): run --mode=prepare again") from error
        try:
            # The source of raw bytes inside TFDS's own, so that TFDS decodes nothing.
            self._bytes = builder.as_data_source(split).data_source
        except (ValueError, KeyError) as error:  # also where the split is empty
            counts = {name: info.num_examples for name, info in builder.info.splits.items()}
            problem = f"has no split {split!r}, or nothing in it; it has {counts}"
            raise DataError(directory, problem) from error
        for name in split_names(split, builder.info.splits):
            _check_size(directory, builder.info.splits[name])

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, index: int) -> bytes:
        return self._bytes[index]


def _check_size(directory: pathlib.Path, split: tfds.core.SplitInfo) -> None:
    """Refuses truncated files, before a run reads them."""
    size = sum(pathlib.Path(path).stat().st_size for path in split.filepaths)
    if size != split.num_bytes:
        raise DataError(
            directory,
            f"is damaged: the files of {split.name} have {size} bytes and should have "
            f"{split.num_bytes}: copy it again, or run --mode=prepare",
        )


def digest(directory: str | os.PathLike) -> int:
    """Returns a 31-bit number that identifies a prepared set, or 0 if there is none."""
    files = [pathlib.Path(directory, name) for name in (REPORT, INFO)]
    if not all(file.is_file() for file in files):
        return 0
    return zlib.crc32(b"".join(file.read_bytes() for file in files)) >> 1


def _nothing_prepared(directory: str | os.PathLike) -> DataError:
    return DataError(directory, "holds no prepared data set: run --mode=prepare first")


def split_names(split: str, known: Collection[str]) -> list[str]:
    """Returns the splits named in an expression such as "ac+rp[:90%]"; "all" names all known."""
    names = [part.split("[")[0].strip() for part in split.split("+")]
    return [each for name in names for each in (known if name == "all" else [name])]


def read_report(directory: str | os.PathLike) -> Report:
    """Returns the report that was written beside the records of a prepared set.

    Raises:
      DataError: there is no prepared set, or it is damaged.
    """
    file = pathlib.Path(directory) / REPORT
    if not file.is_file():
        raise _nothing_prepared(directory)
    try:
        report = Report(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(file, f"is damaged ({error}): run --mode=prepare again") from error
    report.lengths = {  # JSON's keys are strings
        split: {int(n): count for n, count in lengths.items()}
        for split, lengths in report.lengths.items()
    }
    return report

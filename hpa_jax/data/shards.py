"""Writes a shard: one file of a prepared set, with plates cut out of their photographs.

One process writes it. Later runs keep it if its photographs and settings are unchanged.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib

from array_record.python.array_record_module import ArrayRecordWriter

from hpa_jax.data import crops, images, records
from hpa_jax.data.plate import DataError, Plate
from hpa_jax.whole import write_whole

WORK = ".shards"  # the folder of notes, one JSON file per finished shard
VERSION = 2  # of a shard's contents; another number makes all shards anew


@dataclasses.dataclass(frozen=True)
class Shard:
    """A work item: some plates of a split, where to write them, and how."""

    path: pathlib.Path
    split: str
    plates: list[Plate]
    rectify: bool
    margin: float
    strict: bool


def notes_path(shard: pathlib.Path) -> pathlib.Path:
    """Returns the path of the notes on a shard's file."""
    return shard.parent / WORK / f"{shard.name}.json"


def write_shard(shard: Shard) -> dict:
    """Writes a shard unless it exists already, and returns its notes.

    Returns:
      Notes: `plates`, a list of [name, text, digest, has boxes, missed]; `bad`, a list of
      [file, problem]; `bytes`.

    Raises:
      DataError: an image cannot be used, and the shard is strict.
    """
    fingerprint, noted = _fingerprint(shard), notes_path(shard.path)
    if noted.is_file() and shard.path.is_file():
        notes = json.loads(noted.read_text(encoding="utf-8"))
        same = notes["fingerprint"] == fingerprint
        whole = notes["bytes"] == shard.path.stat().st_size
        if same and whole and not notes["bad"]:  # what was bad may be readable by now
            return notes
    plates, bad = [], []
    # Named after this process: a process left over from a killed run may still be writing its own.
    partial = shard.path.with_name(f"{shard.path.name}.{os.getpid()}.partial")
    writer = ArrayRecordWriter(str(partial), "group_size:1")  # 1: any record by itself
    try:
        for plate in shard.plates:
            try:
                record, digest = make_record(plate, shard.rectify, shard.margin)
            except DataError as error:
                if shard.strict:
                    raise
                bad.append(error.args)
                continue
            writer.write(records.serialise(record))
            has_boxes = bool(plate.characters)
            plates.append((plate.name, plate.text, digest, has_boxes, plate.missed))
    finally:
        writer.close()
    partial.replace(shard.path)
    size = shard.path.stat().st_size
    notes = {"fingerprint": fingerprint, "bytes": size, "plates": plates, "bad": bad}
    write_whole(noted, json.dumps(notes).encode())  # a run may be stopped at any time
    return notes


def _fingerprint(shard: Shard) -> str:
    """Returns a digest of the plates, the present state of their files, and the settings."""
    digest = hashlib.blake2b(f"{VERSION} {shard.rectify} {shard.margin}".encode(), digest_size=16)
    for plate in shard.plates:
        digest.update(repr(plate).encode())
        with contextlib.suppress(OSError):  # `make_record` reports unreadable files
            if isinstance(plate.image, pathlib.Path):
                status = plate.image.stat()
                digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def make_record(plate: Plate, rectify: bool, margin: float) -> tuple[records.Record, str]:
    """Returns a plate's record, and a digest of its image and box.

    Raises:
      DataError: its image cannot be read, or does not hold its box.
    """
    data = images.load(plate.image)
    crop = crops.crop_plate(images.open_rgb(data, plate.source), plate, rectify, margin)
    buffer = io.BytesIO()
    # 4:4:4, because red or green ink on a coloured ground differs from it in colour alone.
    crop.image.save(buffer, "JPEG", quality=95, subsampling=0)
    digest = hashlib.blake2b(data + repr(plate.box).encode(), digest_size=12).hexdigest()
    jpeg, boxes = buffer.getvalue(), crop.characters
    # File names may be any bytes.
    name = plate.name.encode("utf-8", "backslashreplace").decode()
    return records.Record(jpeg, plate.text, name, crop.box, boxes, plate.missed), digest

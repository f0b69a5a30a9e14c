"""Writes files completely or not at all."""

import contextlib
import os
import pathlib


def write_whole(path: pathlib.Path, data: bytes) -> None:
    """Writes a file atomically: an earlier file stays until the new one is complete.

    Raises:
      OSError: the file cannot be written; it is named, and nothing is left behind.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # others may write it too
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):  # it may never have been there
            partial.unlink()

"""Files that are there whole or not at all."""

import contextlib
import os
import pathlib


def write_whole(path: pathlib.Path, data: bytes) -> None:
    """Writes a file in one step: what was there before stays until the new one is whole.

    Raises:
      OSError: it cannot be written and is named; nothing is left behind.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # another may be at it too
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):  # it may never have been there
            partial.unlink()

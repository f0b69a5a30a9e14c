"""What a file that runs code when it is loaded is made of."""

import pathlib


class Trap:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)

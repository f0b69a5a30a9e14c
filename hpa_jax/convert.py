"""Converts PyTorch weights to checkpoints of this package, and back.

    python -m hpa_jax.convert --from=torchvision resnet18.pth --to=DIR   ImageNet's, to train from
    python -m hpa_jax.convert --from=vim-lpr weights.pth --to=DIR        the authors', to read with
    python -m hpa_jax.convert --from=hpa_jax RUN --to=weights.pth        ours, for the authors' code

Files are `.pth` (needs the extra `torch`) or `.safetensors`.
"""

import io
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from hpa_jax import checkpoint, command, readers, torch_weights
from hpa_jax.charset import TAIWAN, Charset, find_charset
from hpa_jax.models.hpa import HPANet
from hpa_jax.whole import write_whole

AUTHORS_SIZE = 50, 160  # height and width of the plates that their code reads


def convert_torchvision(file: str | pathlib.Path, to: str | pathlib.Path) -> str:
    """Writes an ImageNet ResNet as a checkpoint for `config.init.backbone`; returns its name.

    Raises:
      OSError, ValueError: as `read_state_dict` and `torch_weights.from_torchvision`.
    """
    backbone, variables = torch_weights.from_torchvision(read_state_dict(file))
    _write(to, variables, {"network": {"backbone": backbone}})
    return backbone


def convert_vim_lpr(
    file: str | pathlib.Path, to: str | pathlib.Path, charset: Charset = TAIWAN, grey: bool = True
) -> dict[str, Any]:
    """Writes the authors' network as a reader; returns its `HPANet` arguments.

    Args:
      file: the state dictionary.
      to: the new checkpoint's directory.
      charset: in the order of the class ids; the authors' is `TAIWAN`, without I and O.
      grey: turns plates grey before reading, as the authors' code does.

    Raises:
      OSError, ValueError: as `read_state_dict` and `torch_weights.from_vim_lpr`; or the charset
        has another size than the network.
    """
    network, variables = torch_weights.from_vim_lpr(read_state_dict(file))
    if len(charset) != network["num_classes"]:
        raise ValueError(
            f"{file} reads {network['num_classes']} characters and the charset has "
            f"{len(charset)}: give the network's with --charset"
        )
    network |= {"grey": grey}
    model = HPANet(**network)
    _write(to, variables, checkpoint.make_metadata(model, charset, AUTHORS_SIZE, styles=()))
    return network


def convert_back(path: str | pathlib.Path, to: str | pathlib.Path) -> list[str]:
    """Writes the best checkpoint of a run as a state dictionary that the authors' code loads.

    Returns:
      What the authors' code must be changed to take, because the weights do not record it.

    Raises:
      OSError, ValueError: as `readers.load`, `torch_weights.to_vim_lpr` and `write_state_dict`.
    """
    variables, metadata = readers.load(path)
    write_state_dict(torch_weights.to_vim_lpr(variables), to)
    height, width = metadata["image_size"]
    differing = {
        "colour plates": not metadata["network"]["grey"],
        f"plates of {height}×{width} pixels": (height, width) != AUTHORS_SIZE,
        f"the class ids of {metadata['charset']!r}": metadata["charset"] != TAIWAN.characters,
    }
    return [what for what, differs in differing.items() if differs]


def read_state_dict(file: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary; loads only tensors, and never runs code from a pickle.

    Raises:
      OSError: the file is missing.
      ValueError: it holds anything but plain tensors by name, or is damaged.
      ModuleNotFoundError: the library that reads it is not installed.
    """
    file = pathlib.Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        state = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
        # PyTorch's DataParallel puts "module." before every name.
        return {name.removeprefix("module."): np.asarray(x) for name, x in state.items()}
    except (TypeError, AttributeError, RuntimeError) as error:  # sparse, quantised, of 8 bits …
        raise ValueError(f"{file}: has tensors that NumPy cannot hold ({error})") from error


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from error


def _read_pickle(file: pathlib.Path) -> dict[str, np.ndarray]:
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise almost anything
        reason = str(error).partition(".")[0]  # the rest advises loading it anyway
        raise ValueError(
            f"{file}: refused: it is damaged or holds more than tensors, which could run code "
            f"({reason}); save model.state_dict() alone"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and torch.is_tensor(x) for name, x in state.items()
    ):
        raise ValueError(f"{file}: holds no state dictionary; save model.state_dict() alone")
    return {
        name: x.detach().float().numpy() if x.is_floating_point() else x
        for name, x in state.items()
    }


def write_state_dict(state: dict[str, np.ndarray], file: str | pathlib.Path) -> None:
    """Writes a state dictionary as `.pth` or `.safetensors`.

    Raises:
      OSError: the file cannot be written.
      ValueError: the file has another suffix.
      ModuleNotFoundError: the library that writes it is not installed.
    """
    file = pathlib.Path(file)
    if file.suffix not in (".pth", ".safetensors"):
        raise ValueError(f"{file}: must end in .pth or .safetensors")
    if file.is_dir():
        raise IsADirectoryError(f"{file}: is a folder; name a new file")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        import safetensors.numpy

        data = safetensors.numpy.save(state)
    else:
        import torch

        buffer = io.BytesIO()
        torch.save({name: torch.from_numpy(np.array(x)) for name, x in state.items()}, buffer)
        data = buffer.getvalue()
    write_whole(file, data)


def _write(to: str | pathlib.Path, variables: dict[str, Any], metadata: dict[str, Any]) -> None:
    manager = checkpoint.open_manager(to)
    if manager.latest_step() is not None:
        raise ValueError(f"{to} holds checkpoints already: give another --to")
    checkpoint.save(manager, 0, variables, None, metadata)
    manager.close()


def _main(argv: Sequence[str]) -> int:
    command.set_up()
    command.end_by_signals()
    if len(argv) != 2:
        raise app.UsageError("name one file, or with --from=hpa_jax the --workdir of a run")
    source, to = argv[1], _TO.value
    try:
        if _FROM.value == "torchvision":
            backbone = convert_torchvision(source, to)
            print(f"{to}: {backbone}. Train from it with --config.init.backbone={to}")
        elif _FROM.value == "vim-lpr":
            charset = find_charset(_CHARSET.value)
            network = convert_vim_lpr(source, to, charset, _GREY.value)
            print(f"{to}: {network}. Read with python -m hpa_jax.recognize --checkpoint={to}")
        else:
            differing = convert_back(source, to)
            print(f"{to}: a state dictionary under the authors' names")
            if differing:
                print(f"the authors' code must be changed to take: {', '.join(differing)}")
    except ModuleNotFoundError as error:
        print(f"error: {error}: pip install 'hpa_jax[torch]'", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    _FROM = flags.DEFINE_enum(
        "from", None, ["torchvision", "vim-lpr", "hpa_jax"], "whose weights", required=True
    )
    _TO = flags.DEFINE_string("to", None, "where the converted weights go", required=True)
    _CHARSET = flags.DEFINE_string(
        "charset", "taiwan", "vim-lpr: a charset's name, or its characters in class order"
    )
    _GREY = flags.DEFINE_bool("grey", True, "vim-lpr: turns plates grey, as the authors' code does")
    app.run(_main)

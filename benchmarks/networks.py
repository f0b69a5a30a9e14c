"""The networks to measure: ours, and the same one in PyTorch with the same weights."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.torch_hpa import BasicBlock, Bottleneck, TorchHPA
from hpa_jax import readers, rebuild, torch_weights
from hpa_jax.charset import TAIWAN, Charset
from hpa_jax.models.hpa import HPANet

PAPER_SIZE = (50, 160)
# Per plate of that size in the original network: 34 classes, 6 characters, no simplification.
MULTIPLY_ADDS = {
    "resnet18": 1.164e9,
    "resnet34": 1.521e9,
    "resnet50": 3.112e9,
    "resnet101": 3.869e9,
}
SHIPPED = {"small": "cn_small", "half": "cn"}  # compared with ResNet-18 in PyTorch
NETWORKS = (*MULTIPLY_ADDS, *SHIPPED)
EAGER, COMPILED, FROZEN = "eager", "compiled", "compiled, frozen"
LAYOUTS = {"": torch.contiguous_format, ", channels-last": torch.channels_last}


class Pair(NamedTuple):
    """Our network, and the PyTorch one that it is compared with."""

    model: HPANet
    charset: Charset
    variables: dict[str, Any]  # NumPy arrays
    image_size: tuple[int, int]
    reference: TorchHPA  # at PAPER_SIZE
    reference_flops: float  # to read one plate
    same: bool  # whether the two compute the same function


def make_pair(name: str, dtype: str) -> Pair:
    """Returns the pair for a name in `NETWORKS`; our network computes in `dtype`."""
    torch.manual_seed(0)
    backbone = "resnet18" if name in SHIPPED else name
    reference = _well_conditioned(TorchHPA(backbone))
    flops = 2 * MULTIPLY_ADDS[backbone]
    if name in SHIPPED:
        variables, metadata = readers.load(SHIPPED[name])
        model, charset, size = rebuild.network(metadata)
        model = model.clone(dtype=dtype)
        return Pair(model, charset, variables, size, reference, flops, same=False)
    state = {name: tensor.numpy() for name, tensor in reference.state_dict().items()}
    arguments, variables = torch_weights.from_vim_lpr(state)
    model = HPANet(**arguments | {"grey": False, "dtype": dtype})
    return Pair(model, TAIWAN, variables, PAPER_SIZE, reference, flops, same=True)


def make_pixels(count: int, size: tuple[int, int]) -> np.ndarray:
    """Returns coarse noise, B×H×W×3 uint8, for which the networks are well-conditioned."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 5, 8, 3), np.uint8)
    return noise.repeat(10, axis=1).repeat(20, axis=2)[:, : size[0], : size[1]]


@torch.no_grad()
def _well_conditioned(network: TorchHPA) -> TorchHPA:
    """Sets random weights with which TensorFloat-32 and bfloat16 read nearly as float32 does.

    With default weights and statistics ResNet-101's logits are in the thousands, and rounding
    decides what is read.
    """
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for block in network.modules():
        if isinstance(block, BasicBlock | Bottleneck):  # so that it adds little to its input
            last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
            torch.nn.init.constant_(last.weight, 0.25)
    for norm in norms:
        norm.momentum = 1.0
    images = placed_images(make_pixels(8, PAPER_SIZE), "", "cpu")
    network.train()(images)
    for norm in norms:
        norm.momentum = 0.1
    factor = 2 / network.eval()(images).logits.std()  # sure of some characters, not of others
    network.classifier.weight.mul_(factor)
    network.classifier.bias.mul_(factor)
    return network


def placed(network: TorchHPA, layout: str, device: str) -> TorchHPA:
    """Returns a copy of the network on the device, in one of `LAYOUTS`."""
    return copy.deepcopy(network).to(device=device, memory_format=LAYOUTS[layout])


def placed_images(images_BHWC: np.ndarray, layout: str, device: str) -> torch.Tensor:
    """Returns float images in [0, 1] on the device, in one of `LAYOUTS`."""
    images = torch.tensor(images_BHWC, device=device).permute(0, 3, 1, 2) / 255.0
    return images.contiguous(memory_format=LAYOUTS[layout])


def torch_ways(
    make: Callable[[str, str], Callable[[], Any]], ways: Sequence[str]
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Returns PyTorch's candidates by name: `make(layout, way)` in every combination."""
    return {
        f"PyTorch, {way}{layout}": functools.partial(make, layout, way)
        for way in ways
        for layout in LAYOUTS
    }


def reading_ways(compiled: bool) -> Sequence[str]:
    """Returns the ways in which `made_to_read` can prepare a network."""
    return (EAGER, COMPILED, FROZEN) if compiled else (EAGER,)


def made_to_read(network: torch.nn.Module, way: str, images: torch.Tensor) -> torch.nn.Module:
    """Returns the network prepared in one of `reading_ways`, compiled for images like these."""
    if way == EAGER:
        return network
    options = {
        # As XLA does: otherwise small batches would mostly measure kernel launches.
        "triton.cudagraphs": images.is_cuda,
        # Folds batch norms and packs weights, as our ONNX model does.
        "freezing": way == FROZEN,
    }
    network = torch.compile(network, dynamic=False, options=options)
    # Freezing must be set here too; only the options keep compiled variants apart.
    with torch._inductor.config.patch(freezing=way == FROZEN), torch.inference_mode():
        network(images)
    return network

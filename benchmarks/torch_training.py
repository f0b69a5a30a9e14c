"""A training step of the same network in PyTorch, with the paper's losses and optimiser."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from benchmarks import networks, timing
from benchmarks.torch_hpa import HPAOutput


def makers(
    pair: networks.Pair,
    batch: dict[str, np.ndarray],
    learning_rate: float,
    device: str,
    dtype: str,
    compiled: bool,
) -> dict[str, Callable[[], timing.Run]]:
    """Returns PyTorch's candidates: name -> a function that prepares the run."""
    labels = [
        torch.tensor(batch[name], device=device).long()
        for name in ("characters", "semantic", "position")
    ]

    def make(layout: str, way: str) -> timing.Run:
        network = networks.placed(pair.reference, layout, device)
        images = networks.placed_images(batch["image"], layout, device)
        network.train()
        rmsprop = torch.optim.RMSprop(network.parameters(), learning_rate)

        def forward() -> torch.Tensor:
            with torch.autocast(device, getattr(torch, dtype), enabled=dtype != "float32"):
                output = network(images)
            return total_loss(output, *labels)

        if way == networks.COMPILED:
            # As in `networks.made_to_read`: otherwise a fast GPU waits for kernel launches.
            options = {"triton.cudagraphs": device == "cuda"}
            forward = torch.compile(forward, dynamic=False, options=options)

        def run() -> float:
            rmsprop.zero_grad()
            loss = forward()
            loss.backward()
            rmsprop.step()
            return timing.synchronised(loss).item()

        return run

    ways = (networks.EAGER, networks.COMPILED) if compiled else (networks.EAGER,)
    return networks.torch_ways(make, ways)


def total_loss(
    output: HPAOutput, characters: torch.Tensor, semantic: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """Returns equation 1 of the paper with α1 = α2 = 1, for plates whose maps are all known."""
    logits = output.logits.float().flatten(0, 1)
    text = functional.cross_entropy(logits, characters.flatten(), reduction="sum")
    return (
        text / len(characters)
        + _map_loss(output.semantic, semantic)
        + _map_loss(output.position, position)
    )


def _map_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    size = labels.shape[1:]
    logits = functional.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
    return functional.cross_entropy(logits, labels)

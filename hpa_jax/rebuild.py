"""Rebuilds the network that a reader's metadata describe, and checks that its variables fit."""

from typing import Any

import jax.numpy as jnp

from hpa_jax.charset import Charset
from hpa_jax.models import bisenet, resnet
from hpa_jax.models.hpa import HPANet
from hpa_jax.models.layers import scaled


def network(metadata: dict[str, Any]) -> tuple[HPANet, Charset, tuple[int, int]]:
    """Returns the network, its charset and its image size (height, width).

    Args:
      metadata: as `checkpoint.make_metadata` gives.

    Raises:
      ValueError: they describe no network of this version.
    """
    try:
        model, charset = HPANet(**metadata["network"]), Charset(metadata["charset"])
        jnp.dtype(model.dtype)  # raises if there is no such type
        image_size = tuple(metadata["image_size"])
        if len(image_size) != 2 or not all(isinstance(n, int) and n > 0 for n in image_size):
            raise ValueError(f"metadata: image_size {image_size}: must be height and width")
        if model.backbone not in bisenet.BACKBONES:
            known = ", ".join(bisenet.BACKBONES)
            raise ValueError(
                f"metadata: network.backbone {model.backbone!r}: must be among {known}; add one of "
                "your own to bisenet.BACKBONES before you load a reader"
            )
    except KeyError as error:
        raise ValueError(f"metadata: {error} is missing") from error
    except TypeError as error:
        raise ValueError(f"no network of this version of hpa_jax: {error}") from error
    return model, charset, image_size


def check(model: HPANet, charset: Charset, variables: Any) -> None:
    """Refuses variables that are not of the network that the metadata describe.

    Raises:
      ValueError: they are of another; the first difference is named.
      KeyError, AttributeError: a part of the network is missing.
    """
    params = variables["params"]
    bias = params["classifier"]["dense"]["bias"]
    outputs = bias.shape[-1] - model.void
    hidden = variables["batch_stats"]["classifier"]["bn"]["mean"].shape[-1]
    wanted = scaled(1000, model.width)
    kinds = {"shared": "a shared classifier", "separate": "separate classifiers"}
    kind = kinds["separate" if bias.ndim == 2 else "shared"]
    networks = {True: "a position network", False: "no position network"}
    attends = "position_network" in params
    sizes = [
        (f"classifier is {model.classifier!r}", kinds.get(model.classifier), kind, "the tree"),
        (
            f"attention is {model.attention}",
            networks.get(model.attention),
            networks[attends],
            "the tree",
        ),
        (f"num_classes is {model.num_classes}", model.num_classes, len(charset), "the charset"),
        (f"num_classes is {model.num_classes}", model.num_classes, outputs, "the classifier"),
        (f"width {model.width} makes {wanted} channels", wanted, hidden, "the classifier"),
    ]
    if model.backbone in resnet.STAGES:
        blocks = sum(resnet.STAGES[model.backbone])
        found = sum("layer" in name for name in params["backbone"]["context_path"])
        sizes += [(f"backbone {model.backbone} has {blocks} blocks", blocks, found, "the ResNet")]
    stated = f"num_characters is {model.num_characters}"
    if attends:
        places = params["position_network"]["output"]["bias"].size - 1
        sizes += [(stated, model.num_characters, places, "the position network")]
    if bias.ndim == 2:
        sizes += [(stated, model.num_characters, len(bias), "the tree of classifiers")]
    for stated, wanted, found, where in sizes:
        if wanted != found:
            raise ValueError(f"metadata: network.{stated}, but {where} has {found}")

"""The paper's loss, L = α1·LS + α2·LP + Σ LC (equation 1): cross entropies all three."""

import jax
import jax.numpy as jnp
import optax

from hpa_jax.models.hpa import HPAOutput
from hpa_jax.models.layers import upsample


def total_loss(
    output: HPAOutput, batch: dict[str, jax.Array], semantic_weight: float, position_weight: float
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns L and its terms by name: loss, semantic_loss, position_loss, character_loss.

    Args:
      output: of the network on `batch["image"]`.
      batch: in the layout of the README; rows of `has_maps` False add nothing to LS and LP.
      semantic_weight: α1 of equation 1; 0 switches the term off, and it is not computed.
      position_weight: α2, likewise.
    """
    terms = {"character_loss": character_loss(output.logits, batch["characters"])}
    loss = terms["character_loss"]
    for name, weight, logits in (
        ("semantic", semantic_weight, output.semantic),
        ("position", position_weight, output.position),
    ):
        if weight and logits is not None:
            terms[f"{name}_loss"] = map_loss(logits, batch[name], batch["has_maps"])
            loss += weight * terms[f"{name}_loss"]
    return loss, {"loss": loss} | terms


def character_loss(logits: jax.Array, characters: jax.Array) -> jax.Array:
    """Σ LC: cross entropy summed over the Cp positions, mean over plates.

    Args:
      logits: B×Cp×outputs.
      characters: B×Cp int32 class ids.
    """
    losses_BC = optax.softmax_cross_entropy_with_integer_labels(logits, characters)
    return losses_BC.sum(axis=1).mean()


def map_loss(logits: jax.Array, labels: jax.Array, has_maps: jax.Array) -> jax.Array:
    """LS or LP: cross entropy over all pixels, mean over the plates whose maps are known.

    The logits are upsampled to image size with aligned corners (paper, "Overview").

    Args:
      logits: B×h×w×K.
      labels: B×H×W integers below K.
      has_maps: B bool.
    """
    size, classes = labels.shape[1:], jnp.arange(logits.shape[-1], dtype=labels.dtype)
    # A row's pixels run along the last axis: reductions over the classes are then fast on a CPU.
    logits_BHKW = upsample(logits.astype(jnp.float32), size)
    chosen = labels[:, :, None] == classes[:, None]
    logits_BHW = jnp.where(chosen, logits_BHKW, 0).sum(axis=2)
    losses_BHW = jax.nn.logsumexp(logits_BHKW, axis=2) - logits_BHW
    return (losses_BHW.mean(axis=(1, 2)) * has_maps).sum() / jnp.maximum(has_maps.sum(), 1)

"""The paper's loss, L = α1·LS + α2·LP + Σ LC (equation 1), a sum of three cross entropies."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from hpa_jax.models import layers
from hpa_jax.models.hpa import HPAOutput


def _map_term(name: str, output: HPAOutput, batch: dict[str, jax.Array]) -> jax.Array | None:
    logits = getattr(output, name)
    return None if logits is None else map_loss(logits, batch[name], batch["has_maps"])


# The terms of L by name: functions of the network's output and the batch that return a scalar, or
# None if the network lacks the output that they need. A config file may add a term.
TERMS: dict[str, Callable[[HPAOutput, dict[str, jax.Array]], jax.Array | None]] = {
    "character": lambda output, batch: character_loss(output.logits, batch["characters"]),
    "semantic": functools.partial(_map_term, "semantic"),
    "position": functools.partial(_map_term, "position"),
}


def total_loss(
    output: HPAOutput, batch: dict[str, jax.Array], loss_weights: Mapping[str, float]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns L, and by name L and its terms before they are weighted; all are scalars.

    The names are loss, character_loss, semantic_loss and position_loss, as `TERMS` has them.

    Args:
      output: of the network on `batch["image"]`.
      batch: in the layout of the README; rows with `has_maps` False add nothing to LS and LP.
      loss_weights: by the names in `TERMS`: `semantic` is α1 of equation 1, `position` α2, and
        `character` the weight of Σ LC: 1 in the paper, or 0 where the networks are trained one by
        one (table 5). Terms of weight 0 are not computed, nor is LP without attention.

    Raises:
      ValueError: a weight names no term.
    """
    if unknown := sorted(loss_weights.keys() - TERMS.keys()):
        raise ValueError(f"loss_weights: {', '.join(unknown)}: must be among {', '.join(TERMS)}")
    terms = {name: TERMS[name](output, batch) for name in TERMS if loss_weights.get(name)}
    terms = {name: term for name, term in terms.items() if term is not None}
    loss = sum((loss_weights[name] * term for name, term in terms.items()), jnp.zeros(()))
    return loss, {"loss": loss} | {f"{name}_loss": term for name, term in terms.items()}


def character_loss(logits: jax.Array, characters: jax.Array) -> jax.Array:
    """Σ LC: cross entropy summed over the Cp positions, mean over plates.

    Args:
      logits: B×Cp×outputs.
      characters: B×Cp int32 class ids that the network has an output for: void needs
        `HPANet(void=True)`, else the loss is not a number.
    """
    losses_BC = optax.softmax_cross_entropy_with_integer_labels(logits, characters)
    return losses_BC.sum(axis=1).mean()


def map_loss(logits: jax.Array, labels: jax.Array, has_maps: jax.Array) -> jax.Array:
    """LS or LP: cross entropy over all pixels, mean over the plates whose maps are known.

    The logits are upsampled to image size with aligned corners (paper, "Overview"). Supports only
    reverse-mode differentiation: each plate's gradient is computed together with its loss.

    Args:
      logits: B×h×w×K.
      labels: B×H×W integers below K.
      has_maps: B bool.
    """
    losses_B = _map_losses(logits.astype(jnp.float32), labels)
    return (losses_B * has_maps).sum() / jnp.maximum(has_maps.sum(), 1)


@jax.custom_vjp
def _map_losses(logits_BhwK: jax.Array, labels_BHW: jax.Array) -> jax.Array:
    return _map_losses_and_gradients(logits_BhwK, labels_BHW)[0]


def _map_losses_and_gradients(
    logits_BhwK: jax.Array, labels_BHW: jax.Array
) -> tuple[jax.Array, jax.Array]:
    if not layers.on_cpu():
        return jax.vmap(_map_loss_and_gradient)(logits_BhwK, labels_BHW)
    # Plate by plate, so that its maps at image size stay in the cache.
    return jax.lax.map(lambda plate: _map_loss_and_gradient(*plate), (logits_BhwK, labels_BHW))


def _map_loss_and_gradient(
    logits_hwK: jax.Array, labels_HW: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns one plate's mean cross entropy and, in closed form, its gradient."""
    logits_HKW, downsample = jax.vjp(
        lambda x: layers.upsample(x[None], labels_HW.shape)[0], logits_hwK
    )
    # Class by class in one fused loop: XLA's own sums would first store what they add up.
    classes = [logits_HKW[:, k] for k in range(logits_HKW.shape[1])]
    top_HW = functools.reduce(jnp.maximum, classes)
    log_sum_HW = layers.materialised(top_HW + jnp.log(sum(jnp.exp(x - top_HW) for x in classes)))
    chosen_HW = sum(jnp.where(labels_HW == k, x, 0) for k, x in enumerate(classes))
    is_chosen_HKW = labels_HW[:, None] == jnp.arange(len(classes), dtype=labels_HW.dtype)[:, None]
    error_HKW = jnp.exp(logits_HKW - log_sum_HW[:, None]) - is_chosen_HKW
    return (log_sum_HW - chosen_HW).mean(), downsample(error_HKW / labels_HW.size)[0]


_map_losses.defvjp(
    _map_losses_and_gradients,
    lambda gradients, weights_B: (gradients * weights_B[:, None, None, None], None),
)

"""Your own training loop, built from the parts that `hpa_jax.train` uses.

    python -m examples.own_loop

It trains a shipped reader further on rendered plates, with AdamW and smoothed labels and a frozen
backbone, and writes a small file to read with. For photographs, take batches from
`pipeline.train_batches` and call `augment.augment` in the step.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hpa_jax import Charset, HPANet, freezing, losses, machine, readers
from hpa_jax.data import styles, synthetic

FROZEN = ["backbone"]
STEPS, BATCH_SIZE = 5, 8


def main(start: str = "tw_small", to: str = "own.npz") -> None:
    variables, metadata = readers.load(start)
    model, charset = HPANet(**metadata["network"]), Charset(metadata["charset"])
    render = synthetic.make_renderer(
        [styles.STYLES["taiwan_new"]],
        charset,
        model.num_characters,
        image_size=tuple(metadata["image_size"]),
    )
    tx = freezing.freeze(optax.adamw(1e-4), FROZEN)

    def loss_fn(params: Any, variables: Any, batch: dict) -> tuple[jax.Array, Any]:
        variables = variables | {"params": freezing.stop_gradients(params, FROZEN)}
        with freezing.frozen_statistics(FROZEN):
            output, updates = model.apply(
                variables, batch["image"] / 255.0, train=True, mutable=["batch_stats"]
            )
        labels = jax.nn.one_hot(batch["characters"], output.logits.shape[-1])
        text = optax.softmax_cross_entropy(output.logits, optax.smooth_labels(labels, 0.1))
        position = losses.map_loss(output.position, batch["position"], batch["has_maps"])
        return text.sum(axis=1).mean() + position, updates

    def step(variables: Any, opt_state: Any, key: jax.Array) -> tuple[Any, Any, jax.Array]:
        batch = jax.vmap(render)(jax.random.split(key, BATCH_SIZE))
        params = variables["params"]
        (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, variables, batch)
        changes, opt_state = tx.update(grads, opt_state, params)
        return updates | {"params": optax.apply_updates(params, changes)}, opt_state, loss

    step = jax.jit(step, donate_argnums=(0, 1), compiler_options=machine.compiler_options())
    variables = jax.tree.map(jnp.asarray, variables)
    opt_state = tx.init(variables["params"])
    for i in range(STEPS):
        variables, opt_state, loss = step(variables, opt_state, jax.random.key(i))
        print(f"step {i + 1}: loss {loss:.2f}")
    pathlib.Path(to).write_bytes(readers.to_bytes(jax.device_get(variables), metadata))
    print(f"python -m hpa_jax.recognize --checkpoint={to} IMAGES")


if __name__ == "__main__":
    main()

"""Five operations on a network's weights, as plain trees, in under a minute on a CPU.

    python -m examples.surgery

The network is a small one with random weights. For a trained one use
`variables, metadata = readers.load("runs/quickstart")`, or give the name of a shipped reader.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hpa_jax import GREECE, TAIWAN, HPANet, freezing, weights

IMAGES = np.random.default_rng(0).random((2, 50, 160, 3), np.float32)
SIZE = {"width": 0.125, "num_characters": 6}


def initialise(seed: int, **network: Any) -> tuple[HPANet, dict]:
    model = HPANet(**SIZE | network)
    key = jax.random.key(seed, impl="rbg")  # compiles in a quarter of the time
    return model, jax.device_get(jax.jit(model.init)(key, jnp.zeros((1, 50, 160, 3))))


def main() -> None:
    model, variables = initialise(0, num_classes=len(TAIWAN))

    # 1. Adapt to another country: characters that both charsets have keep their weights.
    _, fresh = initialise(1, num_classes=len(GREECE), num_characters=7)
    adapted = weights.adapt(variables, fresh, TAIWAN, GREECE)
    rows = [tree["params"]["classifier"]["dense"]["kernel"] for tree in (variables, adapted)]
    a, b = (charset.characters.index("K") for charset in (TAIWAN, GREECE))
    same = (rows[0][:, a] == rows[1][:, b]).all()
    print(f"adapt: K moved from class {a} to {b}, unchanged: {same}")

    # 2. Look inside: the output of any module, by its path.
    look = jax.jit(lambda v, x: weights.intermediates(model, v, x, ["backbone", "*_network"]))
    outputs = look(variables, IMAGES)
    for path, output in sorted(outputs.items()):
        print(f"intermediates: {path} gives {jax.tree.map(jnp.shape, output)}")

    # 3. Freeze by pattern (an optax mask).
    patterns = ["backbone/context_path"]
    mask = freezing.frozen_mask(adapted["params"], patterns)
    tx = freezing.freeze(optax.sgd(0.1), patterns)
    grads = jax.tree.map(np.ones_like, adapted["params"])
    updates, _ = jax.jit(tx.update)(grads, tx.init(adapted["params"]))
    still = sum(not u.any() for u in jax.tree.leaves(updates))
    print(f"freeze: {sum(jax.tree.leaves(mask))} arrays covered, {still} of them stand still")

    # 4. Graft: one module from another network.
    _, other = initialise(2, num_classes=len(TAIWAN))
    grafted = weights.graft(variables, other, "backbone/context_path")
    equal = jax.tree.map(np.array_equal, grafted["params"], other["params"])
    print(f"graft: the other's ResNet, {all(jax.tree.leaves(equal['backbone']['context_path']))}")

    # 5. Average two checkpoints of one network, and look inside again.
    later = jax.tree.map(lambda x: 1.02 * x, variables)
    mean = weights.average([variables, later])
    maps = [look(tree, IMAGES)["semantic_network"] for tree in (variables, later, mean)]
    at_later, at_mean = (float(jnp.abs(x - maps[0]).mean()) for x in maps[1:])
    print(f"average: semantic map off by {at_mean:.4f}, by {at_later:.4f} at the later one")


if __name__ == "__main__":
    main()

"""The shipped reader 'tw': a small network that reads photographs of Taiwanese plates.

It goes on from the quick start's network and sees rendered plates only, of all one-row styles that
are on the road; no real plate. Three and a half hours on two CPU cores.

    python -m hpa_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m hpa_jax.main --config=configs/reader_tw.py --workdir=runs/reader_tw

Where there is a GPU, `configs/synthetic.py` trains the paper-size network on the same plates.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
    c = common.get_config()
    c.init.checkpoint = "runs/quickstart"
    c.model.width = 0.25
    c.image_size = (48, 160)
    c.data.styles = ("taiwan_old", "taiwan_new", "taiwan_scooter", "taiwan_motorcycle")
    c.data.weights = (1.5, 3.0, 5.0, 2.5)
    c.loss.semantic = 0.0  # the dearest term on a CPU
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 50
    c.batch_size = 32
    c.num_steps = 46_000
    c.eval_every = 2_000
    return c

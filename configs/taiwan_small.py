"""A small network (1.3 million parameters) that reads photographs of Taiwanese plates.

It goes on from the quick start's network and sees rendered plates only: all styles in one row that
are on the road, near full realism. About ten minutes on two CPU cores.

    python -m hpa_jax.main --config=configs/taiwan_small.py --workdir=runs/taiwan_small

A longer run reads better: --config.num_steps=20000.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
    c = common.get_config()
    c.init.checkpoint = "runs/quickstart"
    c.model.width = 0.25
    c.data.styles = ("taiwan_old", "taiwan_new", "taiwan_scooter", "taiwan_motorcycle")
    c.data.weights = (1.5, 2.0, 5.0, 2.5)
    c.data.realism = 0.8
    c.loss.semantic = 0.0  # the dearest term on a CPU
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 20
    c.batch_size = 24
    c.num_steps = 1_100
    c.log_every = 20
    c.eval_every = 1_100
    return c

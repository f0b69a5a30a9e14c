"""A small HPA network on rendered Taiwanese plates: the whole way in a few minutes.

It has 1.3 million parameters. On two CPU cores it trains in under four minutes to at least 90 % of
whole plates correct on 1,000 new rendered ones, and draws a page of readings with their HPA maps.

    python -m hpa_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
    c = common.get_config()
    c.model.width = 0.25
    c.data.realism = 0.3  # real streets are harder: configs/synthetic.py
    c.data.styles = ("taiwan_old",)
    c.data.fonts = ("gothic", "pillow")
    c.num_characters = 6
    c.model.void = False
    c.image_size = (40, 144)  # seven tenths of the paper's pixels
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 20
    c.loss.semantic = 0.0  # the most expensive term on a CPU; the others teach enough
    c.batch_size = 16
    c.num_steps = 1_100
    c.log_every = 20
    c.eval_every = 1_100
    return c

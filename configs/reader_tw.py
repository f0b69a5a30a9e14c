"""The shipped readers 'tw_small', 'tw' and 'tw_full', which read photographs of Taiwanese plates.

They see only rendered plates, of all one-row styles on the road, and no real plate. The small one
starts from the quick start's network; the wide one, with twice the channels, starts from the small
one (Net2Net). The small one takes 3.5 hours on two CPU cores, the wide one, the first stage of
'tw', 1.5 hours on one. docs/readers.md has the other stages. The full one, the paper's network at
its size, starts from the shipped 'tw' in the same way: 50 minutes on two cores.

    python -m hpa_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m hpa_jax.main --config=configs/reader_tw.py --workdir=runs/reader_tw
    python -m hpa_jax.main --config=configs/reader_tw.py:wide --workdir=runs/reader_tw_wide
    python -m hpa_jax.main --config=configs/reader_tw.py:full --workdir=runs/reader_tw_full

In a single run of two hours on one core, the small one read 214 of 228 photographs with
--config.num_steps=12000 --config.ema=0.998 --config.data.loose=1.0 --config.data.tilt=1.6
--config.data.cut=0.1. On a GPU, `configs/synthetic.py` trains the network of the paper's size.
"""

import ml_collections

from configs import common
from hpa_jax import charset


def get_config(size: str = "small") -> ml_collections.ConfigDict:
    if size not in ("small", "wide", "full"):
        raise ValueError(f"size {size!r}: must be small, wide or full")
    c = common.get_config()
    c.init.checkpoint = "runs/quickstart"
    c.model.width = 0.25
    c.image_size = (48, 160)
    c.charset = charset.TAIWAN.characters + "I"
    c.data.styles = ("taiwan_old", "taiwan_old_five", "taiwan_new", "taiwan_scooter")
    c.data.styles += ("taiwan_motorcycle", "taiwan_motorcycle_i")
    c.data.weights = (2.4, 0.4, 3.0, 5.0, 2.2, 0.4)
    c.loss.semantic = 0.0  # the most expensive term on a CPU
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 50
    c.batch_size = 32
    c.num_steps = 46_000
    c.eval_every = 2_000
    if size == "wide":
        c.init.checkpoint = "runs/reader_tw"
        c.model.width = 0.5
        c.ema = 0.998
        c.optimizer.learning_rate = 5e-4
        c.optimizer.warmup_steps = 100
        c.num_steps = 5_000
        c.eval_every = 500
    if size == "full":
        common.widen_to_paper(c, "tw")
        c.data.tilt = 1.6
        c.num_steps = 2_600
        c.eval_every = 650
        c.seed = 2001
    return c

"""Trains the shipped network of the paper's size (`tw_full`) further, for another country's plates.

    python -m hpa_jax.main --config=configs/finetune.py:greece --workdir=runs/greece

With --config.num_steps=300 it read 858 of 1,000 plates in ten minutes on two CPU cores. The
argument is the country: greece, china or taiwan. --config.init.checkpoint=RUN starts from another
reader. Characters that the old and the new charset share keep what they learned; the ResNet is
frozen. A network narrower than the paper's is widened, unless its `--config.model.width` is given.
"""

import ml_collections

from configs import common

COUNTRIES = {  # charset, most characters on a plate, plate styles
    "greece": ("greece", 7, ("greece",)),
    "china": ("china", 8, ("china_blue", "china_yellow", "china_yellow_two_row", "china_green")),
    "taiwan": ("taiwan", 7, ("taiwan_old", "taiwan_new")),
}


def get_config(country: str = "greece") -> ml_collections.ConfigDict:
    if country not in COUNTRIES:
        raise ValueError(f"country {country!r}: must be one of {', '.join(COUNTRIES)}")
    c = common.get_config()
    c.charset, c.num_characters, c.data.styles = COUNTRIES[country]
    c.init.checkpoint = "tw_full"
    c.freeze = ("backbone/context_path",)
    c.ema = 0.99
    c.optimizer.learning_rate = 5e-4
    c.optimizer.warmup_steps = 20
    c.batch_size = 64
    c.num_steps = 1_000
    c.eval_every = 500
    return c

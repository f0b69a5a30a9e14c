"""The paper's network as it is shipped (`tw_full`), trained on for another country's plates.

    python -m hpa_jax.main --config=configs/finetune.py:greece --workdir=runs/greece

With --config.num_steps=300 that came to 858 of 1,000 plates in ten minutes on two CPU cores.
--config.init.checkpoint=RUN starts from another reader. The argument is the country: greece, china
or taiwan. Characters that the old charset shares with the new one keep what they learned; the
ResNet keeps all it learned and stays as it is. A network narrower than the paper's is widened,
unless its `--config.model.width` is given.
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

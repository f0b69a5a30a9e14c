"""Your own country in one config file: Polish plates, trained from a shipped reader.

    python -m hpa_jax.main --config=examples/own_country.py --mode=inspect --workdir=runs/poland
    python -m hpa_jax.main --config=examples/own_country.py --workdir=runs/poland

The first command draws plates, clean and as training sees them: compare them with photographs. The
second trains. For another country, copy this file and describe its plates.
"""

import dataclasses

import ml_collections

from configs import common
from hpa_jax.charset import DIGITS
from hpa_jax.data.plate_style import Palette, Row
from hpa_jax.data.styles import BLACK, STYLES, WHITE

LETTERS = "ABCDEFGHIJKLMNOPRSTUVWXYZ"  # of the districts: all except Q
SERIAL = "ACEFGHJKLMNPRSTUVWXY"  # letters of serials: none that looks like a digit

STYLES["poland"] = dataclasses.replace(
    STYLES["greece"],  # a white plate with a blue band at the left; lengths are in millimetres
    name="poland",
    size=(520, 114),
    patterns={"AA 99999": 4, "AA 999SS": 2, "AAA 99SS": 2, "AAA 9S99": 1, "AAA 99999": 2},
    rows=(Row(y=57, character=(46, 80), gap=8, separator=24, x=280),),
    palettes=(Palette(WHITE, BLACK),),
    alphabets={"A": LETTERS, "9": DIGITS, "S": SERIAL},
)


def get_config() -> ml_collections.ConfigDict:
    c = common.get_config()
    c.charset = DIGITS + LETTERS
    c.num_characters = 8
    c.data.styles = ("poland",)
    c.init.checkpoint = "tw_small"  # has the width and image size below
    c.model.width = 0.25
    c.image_size = (48, 160)
    c.loss.semantic = 0.0  # the most expensive term on a CPU; tw_small was trained without it
    c.ema = 0.998
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 50
    c.batch_size = 32
    c.num_steps = 3_000
    c.eval_every = 1_000
    return c

"""The shipped readers 'cn_small', 'cn' and 'cn_full', which read photographs of Chinese plates.

Three tenths of each batch are real plates. The others are rendered: only these show all provinces,
plates of two rows and green plates. The small reader starts from that of configs/reader_tw.py,
which knows the letters and digits; the wide one, with twice the channels, from the small one
(Net2Net). The small one takes two hours on two CPU cores, the wide one 1.5 hours on one. These are
the first stages of 'cn_small' and 'cn'; docs/readers.md has the others. The full one, the paper's
network at its size, starts from the shipped 'cn' in the same way: 40 minutes on two cores for its
first stage.

1. Prepare real plates, once: a folder with a labels.csv (hpa_jax/data/folder.py). The shipped
   readers saw only rows whose licence allows it: the others were removed from that file first
   (`grep -v "none stated" labels.csv`).
    python -m hpa_jax.main --config=configs/reader_cn.py --mode=prepare --config.data.root=FOLDER
2. Train, with a folder of glyph images for the Chinese characters (docs/new_country.md):
    python -m hpa_jax.main --config=configs/reader_cn.py --workdir=runs/reader_cn \
        --config.data.fonts="('GLYPHS',)"
    python -m hpa_jax.main --config=configs/reader_cn.py:wide --workdir=runs/reader_cn_wide \
        --config.data.fonts="('GLYPHS',)"
    python -m hpa_jax.main --config=configs/reader_cn.py:full --workdir=runs/reader_cn_full \
        --config.data.fonts="('GLYPHS',)"

In a single run of two hours on one core, after the single run of `configs/reader_tw.py`, the first
read 425 of 436 photographs with --config.num_steps=12000 --config.ema=0.998
--config.data.loose=1.0 --config.data.cut=0.1, and from there the second, with the last two of these
flags and in another 1.5 hours, 425 as well.
"""

import ml_collections

from configs import common, files


def get_config(size: str = "small") -> ml_collections.ConfigDict:
    if size not in ("small", "wide", "full"):
        raise ValueError(f"size {size!r}: must be small, wide or full")
    c = files.base("folder", "resnet18", init="runs/reader_tw")
    c.charset = "china"
    c.num_characters = 8
    c.model.width = 0.25
    c.image_size = (48, 160)
    c.data.prepared = "prepared/reader_cn"
    c.data.styles = ("china_blue", "china_yellow", "china_yellow_two_row", "china_green")
    c.data.weights = (6.0, 1.5, 1.0, 2.0)
    c.data.rendered = 0.7
    c.loss.semantic = 0.0  # the most expensive term on a CPU
    c.optimizer.learning_rate = 1e-3
    c.optimizer.warmup_steps = 50
    c.batch_size = 32
    c.num_steps = 29_000
    c.eval_every = 2_000
    c.data.test = ml_collections.ConfigDict()  # no dev set: test with `hpa_jax.assess`
    if size == "wide":
        c.init.checkpoint = "runs/reader_cn"
        c.model.width = 0.5
        c.ema = 0.998
        c.optimizer.warmup_steps = 100
        c.num_steps = 4_000
        c.eval_every = 250
    if size == "full":
        common.widen_to_paper(c, "cn")
        c.data.rendered = 0.75
        c.num_steps = 2_000
        c.eval_every = 500
        c.seed = 2002
    return c

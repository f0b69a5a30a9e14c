"""CCPD base: trains on its 100,000 training plates, tests on the 100,000 others (table 3).

Expected (paper, table 3, plates found by a detector), in % of whole plates: 99.57 with ResNet-18,
99.61, 99.62 and 99.65 with -34, -50 and -101. Here plates are cut out by their labelled boxes, or
where your detector found them: data.detections, when preparing (hpa_jax/data/detections.py). In the
release of 2019 the base test set has 99,996 plates. Most plates are of one province, so the
accuracy without the province's character and by province is reported too.

1. Prepare, once; FOLDER holds ccpd_base and splits (other subsets in it are prepared too):
    python -m hpa_jax.main --config=configs/ccpd.py --mode=prepare --config.data.root=FOLDER
2. Look at it:
    python -m hpa_jax.main --config=configs/ccpd.py --mode=inspect --workdir=runs/ccpd
3. Train and test:
    python -m hpa_jax.main --config=configs/ccpd.py --workdir=runs/ccpd
   or from an ImageNet network (docs/research.md, "ImageNet weights"), at the paper's rate:
    python -m hpa_jax.main --config=configs/ccpd.py --workdir=runs/ccpd \
        --config.init.backbone=runs/imagenet18 --config.optimizer.learning_rate=2e-5 \
        --config.optimizer.warmup_steps=0
4. Test on another subset (blur, db, fn, rotate, tilt, challenge, weather):
    python -m hpa_jax.main --config=configs/ccpd.py:test=blur --workdir=runs/ccpd --mode=evaluate
Green plates (the release of 2020), which the paper leaves out, have eight characters: steps 1 and 3
with test=green_test and --config.data.train=green_train --config.num_characters=8.

Arguments: test (base or another subset), backbone, init (the run to start from; for table 3, CLPD
included, no shipped Chinese reader: these saw photographs of CCPD, of an unknown half, and others).
The batch of 256, RMSProp and training on texts alone (no maps) are the paper's. Its rate of 2e-5 is
for ImageNet weights; 5e-4 with a warm-up, for random ones (no init), is ours. It does not give the
length of training or the schedule: here, 12,000 steps (30 epochs).
"""

import ml_collections

from configs import files


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = files.parse_arg(arg, test="base", backbone="resnet18", init="")
    c = files.base("ccpd", arg["backbone"], arg["init"])
    c.charset = "china"
    c.num_characters = 7
    c.model.void = False  # every plate has seven characters, or eight if green
    c.loss.semantic = c.loss.position = 0.0
    c.data.train = "base_train"
    splits = "base_test" if arg["test"] == "base" else arg["test"]
    c.data.test = ml_collections.ConfigDict({arg["test"]: splits})
    c.data.any_text = True  # so that green plates, which have eight, can be in a test set
    c.num_steps = 12_000
    c.eval_every = 2_000
    return c

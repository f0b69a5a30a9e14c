"""CLPD: tests a network trained on CCPD base on all 1,200 plates from 31 provinces (table 3).

Expected (paper, table 3, plates found by a detector), in % of whole plates: 78.50 with ResNet-18;
79.50, 82.17 and 82.50 with -34, -50 and -101. data.detections works as in configs/ccpd.py. Plates
that the network cannot write count as wrong: those of eight or fewer than seven characters (it has
no void class), and those with a character that CCPD base never shows and the charset lacks (警).

1. Train on CCPD base: configs/ccpd.py.
2. Prepare, once; FOLDER holds CLPD.csv and CLPD_1200:
    python -m hpa_jax.main --config=configs/clpd.py --mode=prepare --config.data.root=FOLDER
3. Test:
    python -m hpa_jax.main --config=configs/clpd.py --workdir=runs/ccpd --mode=evaluate

Argument: backbone; testing does not need it, because the run knows its own.
"""

import ml_collections

from configs import ccpd, files


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = files.parse_arg(arg, backbone="resnet18")
    c = ccpd.get_config(f"backbone={arg['backbone']}")
    c.data.reader = "clpd"
    c.data.root = "data/clpd"
    c.data.prepared = "prepared/clpd"
    c.data.train = ""
    c.data.test = ml_collections.ConfigDict({"clpd": "test"})
    return c

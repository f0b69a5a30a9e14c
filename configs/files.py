"""The fields that experiments on data sets of files add to `common`, and their arguments.

This config itself trains on any folder of photographs with a labels.csv:

    python -m hpa_jax.main --config=configs/files.py:charset=china --mode=prepare \
        --config.data.root=FOLDER --config.data.prepared=prepared/mine
    python -m hpa_jax.main --config=configs/files.py:charset=china --workdir=runs/mine \
        --config.data.prepared=prepared/mine

It trains on the rows whose split is train and tests on those whose split is dev. `charset=` takes
a known name or the characters themselves. With `init=READER` (`:init=cn_small`) training continues
from a shipped reader, a .npz or a run, at the paper's rate for trained weights. Width, image size,
number of characters and, unless given, charset are taken from it. (A converted run has no
config.json to take them from: give them.)
"""

import json
import pathlib

import ml_collections

from configs import common
from hpa_jax import checkpoint, readers


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    arg = parse_arg(arg, charset="", backbone="resnet18", init="")
    c = base("folder", arg["backbone"], arg["init"])
    c.charset, c.num_characters = "taiwan", 8
    if start := of_reader(arg["init"]):
        c.model.width, c.image_size, c.num_characters, c.charset = start
    c.charset = arg["charset"] or c.charset
    return c


def of_reader(init: str) -> tuple[float, tuple[int, int], int, str] | None:
    """Returns a reader's width, image size, num_characters and charset, or None if unknown."""
    if file := readers.compact_file(init):
        metadata = readers.load_compact(file)[1]
        network = metadata["network"]
        size, charset = tuple(metadata["image_size"]), metadata["charset"]
        return network["width"], size, network["num_characters"], charset
    run, _ = checkpoint.split_step(pathlib.Path(init))
    if not init or not (run / "config.json").is_file():
        return None
    c = json.loads((run / "config.json").read_text(encoding="utf-8"))
    return c["model"]["width"], tuple(c["image_size"]), c["num_characters"], c["charset"]


def base(reader: str, backbone: str, init: str) -> ml_collections.ConfigDict:
    """Returns a config for a data set of files; `reader` is a name in hpa_jax.datasets.READERS."""
    c = common.get_config().unlock()
    c.model.backbone = backbone
    c.init.checkpoint = init
    # The paper's rate is for trained weights ("Implementation Details"); random ones need more.
    c.optimizer.learning_rate = 2e-5 if init else 5e-4
    c.optimizer.warmup_steps = 0 if init else 500

    c.data.styles = ()  # of the rendered plates (data.rendered)
    c.data.reader = reader
    c.data.root = f"data/{reader}"  # the user's own copy, as it was unpacked
    c.data.prepared = f"prepared/{reader}"  # where --mode=prepare writes the prepared set
    c.data.train = "train"  # splits to train on, as TFDS writes them: "ac+rp"
    c.data.test = ml_collections.ConfigDict({"dev": "dev"})  # result's name -> splits
    c.data.rectify = False  # True: warp corners to a rectangle; False: upright boxes, as the paper
    c.data.margin = 0.15  # of surroundings kept on each side, as a share of the plate's size
    c.data.estimate_boxes = ()  # styles from whose geometry missing character boxes are estimated
    c.data.detections = ""  # a CSV of boxes that a detector found (hpa_jax/data/detections.py)
    c.data.skip_bad = False  # True: list and leave out bad rows and files; False: stop at the first
    c.data.any_text = False  # keep test plates that the network cannot write, as wrong
    c.data.fold_seed = 0  # Media Lab only: which photograph is in which fold
    c.data.jitter = 0.1  # random crop of training plates, as a share of their size
    c.data.augment = 1.0  # strength of augmentation on the device; 0: none
    c.data.rendered = 0.0  # share of rendered plates (data.styles) in each training batch
    c.data.workers = 2  # processes that decode and resize, per process of a job
    return c.lock()


def parse_arg(arg: str | None, **defaults: str | int) -> dict:
    """Parses "name=value,name=value", the part of --config after the colon.

    Args:
      arg: the text; None or "" changes no default.
      **defaults: the names that may be given; values get the type of the default.

    Raises:
      ValueError: an unknown name, or a value of the wrong type.
    """
    values = dict(defaults)
    for item in filter(None, (arg or "").split(",")):
        name, _, value = item.partition("=")
        if name not in defaults:
            raise ValueError(f"config argument {item!r}: known are {', '.join(defaults)}")
        try:
            values[name] = type(defaults[name])(value)
        except ValueError as error:
            kind = type(defaults[name]).__name__
            raise ValueError(f"config argument {item!r}: should be an {kind}") from error
    return values

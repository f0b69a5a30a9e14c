"""The fields that experiments on data sets of files add to `common`, and their arguments.

Any folder of photographs with a labels.csv is an experiment by itself:

    python -m hpa_jax.main --config=configs/files.py:charset=china --mode=prepare \
        --config.data.root=FOLDER --config.data.prepared=prepared/mine
    python -m hpa_jax.main --config=configs/files.py:charset=china --workdir=runs/mine \
        --config.data.prepared=prepared/mine

It trains on the rows whose split is train and tests on those whose split is dev. `charset=` takes
a known name or the characters themselves. With `init=READER` (`:init=cn_small`) it goes on from a
shipped reader, a .npz or a run, in its width, image size, number of characters and, unless it is
given, charset, at the paper's rate for trained weights. (A converted run has no config.json to
tell these: give them.)
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
    """Width, image size, most characters and charset of a reader; None if nothing tells them."""
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
    """A config for a data set of files; `reader` is a name in hpa_jax.datasets.READERS."""
    c = common.get_config().unlock()
    c.model.backbone = backbone
    c.init.checkpoint = init
    # The paper's rate is for trained weights ("Implementation Details"); random ones need more.
    c.optimizer.learning_rate = 2e-5 if init else 5e-4
    c.optimizer.warmup_steps = 0 if init else 500

    c.data.styles = ()  # of plates that are rendered among those of files
    c.data.reader = reader
    c.data.root = f"data/{reader}"  # the user's own copy, as it was unpacked
    c.data.prepared = f"prepared/{reader}"  # what --mode=prepare makes of it
    c.data.train = "train"  # splits to train on, as TFDS writes them: "ac+rp"
    c.data.test = ml_collections.ConfigDict({"dev": "dev"})  # name of a result -> its splits
    c.data.rectify = False  # warp the corners to a rectangle; False: upright boxes, as the paper
    c.data.margin = 0.15  # of surroundings kept on each side, as a share of the plate's size
    c.data.estimate_boxes = ()  # styles by which to estimate character boxes from corners or box
    c.data.detections = ""  # a CSV of boxes that a detector found (hpa_jax/data/detections.py)
    c.data.skip_bad = False  # leave out and list what cannot be used; False: stop at the first
    c.data.any_text = False  # keep test plates that the network cannot write; they count as wrong
    c.data.fold_seed = 0  # Media Lab's: decides who is in which fold
    c.data.jitter = 0.1  # random crop of training plates, as a share of their size
    c.data.augment = 1.0  # strength of augmentation on the device; 0: none
    c.data.rendered = 0.0  # share of each training batch that is rendered plates of data.styles
    c.data.workers = 2  # that decode and resize, for each process of a job
    return c.lock()


def parse_arg(arg: str | None, **defaults: str | int) -> dict:
    """Parses "name=value,name=value", the part of --config after the colon.

    Args:
      arg: the text; None or "" changes no default.
      **defaults: the names that may be given; values take the type of their default.

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

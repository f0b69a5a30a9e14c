"""The fields of every experiment. Each config file starts from these and changes some."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """ResNet-18 at the paper's size on rendered Taiwanese plates."""
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.charset = "taiwan"  # a name in hpa_jax.charset.CHARSETS, or the characters themselves
    c.num_characters = 7  # Cp, the most characters a plate has
    c.image_size = (50, 160)  # height and width, as in the paper

    c.model = ml_collections.ConfigDict()  # the arguments of hpa_jax.HPANet
    c.model.backbone = "resnet18"  # resnet18, resnet34, resnet50, resnet101
    c.model.width = 1.0  # multiplies every hidden channel count
    c.model.void = True  # adds the void class, for plates shorter than Cp
    c.model.classifier = "shared"  # or "separate" (table 4)
    c.model.attention = True  # False: no HPA maps; needs separate classifiers (table 4)
    c.model.grey = False  # True: reads plates in 8-bit grey, as the authors' released weights do
    c.model.dtype = "float32"  # or "bfloat16", to compute in; parameters stay float32

    c.data = ml_collections.ConfigDict()
    # Names in hpa_jax.data.styles.STYLES.
    c.data.styles = ("taiwan_old", "taiwan_new")
    c.data.weights = ()  # how often each style is drawn; empty: equally often
    c.data.fonts = ()  # font files or glyph folders; empty: the built-in fonts
    c.data.realism = 1.0  # strength of tilt, dirt, light, blur and noise; 0 gives clean plates
    c.data.loose = 0.4  # largest margin of a rendered crop, on each side, as a share of the plate
    c.data.tilt = 1.0  # how far rendered plates are tilted and sheared; hand-held cameras: more
    c.data.cut = 0.0  # share of training plates with up to a quarter cut off at one side

    c.init = ml_collections.ConfigDict()  # what training starts from; both empty: random weights
    c.init.checkpoint = ""  # a run, .npz or shipped reader, adapted to these plates
    c.init.backbone = ""  # a converted ImageNet ResNet (hpa_jax.convert), or a run: its backbone
    c.freeze = ()  # patterns of module paths to freeze, as ("backbone/context_path",)
    c.ema = 0.0  # decay of a moving average of the weights, which then reads; 0: none

    c.loss = ml_collections.ConfigDict()  # weights of hpa_jax.losses.TERMS
    c.loss.semantic = 1.0  # α1 of equation 1; 0 switches the term off
    c.loss.position = 1.0  # α2
    c.loss.character = 1.0  # of Σ LC; 0 to train the networks one by one (table 5)

    c.optimizer = ml_collections.ConfigDict()  # RMSProp; decay and eps are PyTorch's defaults
    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "cosine"  # or "constant"
    c.optimizer.warmup_steps = 0
    c.optimizer.decay = 0.99
    c.optimizer.eps = 1e-8
    c.optimizer.momentum = 0.0
    c.optimizer.weight_decay = 0.0

    c.batch_size = 256  # plates per step over all devices, as in the paper
    c.num_steps = 10_000
    c.log_every = 50  # steps between two lines in metrics.jsonl
    c.eval_every = 1_000  # steps between two evaluations, each with a checkpoint
    c.eval_size = 1_000  # new rendered plates per evaluation
    c.keep_checkpoints = 1  # how many of the latest to keep, besides the most accurate
    return c.lock()  # refuses misspelt fields; within c.unlocked() fields can be added


def widen_to_paper(c: ml_collections.ConfigDict, reader: str) -> None:
    """Makes a config widen a shipped reader to the paper's size, and train on from there."""
    c.init.checkpoint = reader
    c.model.width = 1.0
    c.image_size = get_config().image_size
    c.ema = 0.998
    c.optimizer.learning_rate = 3e-4
    c.optimizer.warmup_steps = 100
    c.data.loose = 1.0
    c.data.cut = 0.1

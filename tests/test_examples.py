"""Every example runs, and prints what its comments promise."""

import inspect
import pathlib
import re
import types

import jax
import numpy as np
import optax
import pytest

import hpa_jax
from examples import own_country, own_loop, surgery
from hpa_jax import (
    GREECE,
    TAIWAN,
    HPANet,
    checkpoint,
    fields,
    freezing,
    readers,
    train_state,
    weights,
)
from hpa_jax.charset import Charset
from hpa_jax.data.styles import STYLES
from hpa_jax.data.synthetic import make_renderer
from tests.networks import random_variables

SIZE = (25, 80)


def test_surgery(capsys):
    surgery.main()
    printed = capsys.readouterr().out
    assert "K moved from class 19 to 15, unchanged: True" in printed
    assert "semantic_network gives (2, 7, 20, 35)" in printed
    covered, still = (int(s) for s in printed.split("freeze: ")[1].split() if s.isdigit())
    assert covered == still > 0
    assert "graft: the other's ResNet, True" in printed
    off = [float(x) for x in re.findall(r"by (\d+\.\d+)", printed.split("average: ")[1])]
    assert 0 < off[0] < off[1]  # the mean lies between


def test_own_loop(tmp_path, capsys):
    own_loop.main(to=str(tmp_path / "own.npz"))
    assert "step 5: loss " in capsys.readouterr().out
    before, after = (readers.load(name)[0] for name in ("tw_small", tmp_path / "own.npz"))
    same = jax.tree.map(np.array_equal, before, after)
    assert all(jax.tree.leaves([tree.pop("backbone") for tree in same.values()]))
    assert not any(jax.tree.leaves(same["params"]["classifier"]))
    blank = np.zeros((48, 160, 3), np.uint8)
    assert 0 < hpa_jax.load_recognizer(tmp_path / "own.npz").read([blank])[0].confidence < 1


def test_the_documented_surgery_gives_a_reader():
    text = (pathlib.Path(__file__).parents[1] / "docs/research.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```python")[1:]]
    (code,) = [block for block in blocks if "weights.adapt" in block]
    names = {}
    exec(code, names)
    assert names["reader"].charset == GREECE
    (reading,) = names["reader"].read([np.zeros((48, 160, 3), np.uint8)])
    assert set(reading.text) <= set(GREECE.characters)


@pytest.mark.parametrize(
    "function",
    [weights.adapt, weights.swap_backbone, weights.widen, weights.graft, weights.intermediates]
    + [weights.average, weights.soften, freezing.freeze, freezing.frozen_statistics],
    ids=lambda function: function.__name__,
)
def test_the_examples_of_surgery_in_docstrings_run(function):
    # Of the doc without its own indentation, which Python 3.13 takes away by itself.
    lines = inspect.getdoc(function).partition("Args:")[0].partition("Raises:")[0].splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith(" " * 4))
    assert f".{function.__name__}(" in code

    def narrow(**network):  # the examples leave the width out
        model = HPANet(**{"width": 0.25} | network)
        return types.SimpleNamespace(init=lambda key, images: random_variables(model, SIZE))

    model, variables = HPANet(width=0.25), narrow().init(None, None)
    names = {"HPANet": narrow, "model": model, "imagenet": variables, "runs": ["tw_small"]}
    names |= {"key": None, "images": np.zeros((1, *SIZE, 3), np.float32)}
    names |= {"TAIWAN": TAIWAN, "optax": optax}

    def run(variables):
        exec(code, globals() | names | {"variables": variables})

    jax.eval_shape(run, variables) if "model" in code else run(variables)


def test_own_country_fits_the_reader_that_it_starts_from():
    config = own_country.get_config()
    fields.check(config)
    charset, size = Charset(config.charset), config.image_size
    styles = [STYLES[name] for name in config.data.styles]
    assert [style.name for style in styles] == ["poland"]
    render = make_renderer(styles, charset, config.num_characters, image_size=size)
    shapes = jax.eval_shape(render, jax.random.key(0))
    assert shapes["image"].shape == (*size, 3) and shapes["characters"].shape == (8,)
    counts = {"num_characters": config.num_characters, "num_classes": len(charset)}
    metadata = checkpoint.make_metadata(HPANet(**counts, **config.model), charset, size, ())
    assert readers.load("tw_small")[1]["network"]["width"] == config.model.width
    train_state.load_start(config.init.checkpoint, metadata)

"""Inputs: from the fields of a config to batches."""

import jax
import numpy as np
import pytest
from PIL import Image

from configs import files, quickstart
from hpa_jax import datasets, inputs


def test_evaluation_has_other_plates_in_every_batch_and_the_same_in_other_batches():
    render = lambda keys: {"image": jax.vmap(jax.random.uniform)(keys)}  # noqa: E731
    first, second = inputs.make_eval_batches(render, jax.random.key(0), 6, 4)()
    assert len(np.unique([first["image"], second["image"]])) == 8
    assert second["weight"].tolist() == [1, 1, 0, 0]
    (other,) = inputs.make_eval_batches(render, jax.random.key(0), 6, 8)()
    np.testing.assert_array_equal(other["image"], [*first["image"], *second["image"]])


def test_shorter_plates_need_void():
    c = quickstart.get_config()
    c.num_characters = 7
    with pytest.raises(ValueError, match="num_characters 7: '.*' has 6, .*model.void=True"):
        inputs.make_render(c, None)


def test_plates_are_rendered_as_the_config_says(monkeypatch):
    given = {}
    monkeypatch.setattr(
        inputs.synthetic, "make_renderer", lambda *_, **kwargs: given.update(kwargs)
    )
    c = quickstart.get_config()
    wanted = {"fonts": ("gothic",), "weights": (2.0,), "realism": 0.7, "loose": 0.9, "tilt": 1.3}
    wanted |= {"cut": 0.1}
    c.data.update(wanted)
    inputs.make_render(c, None)
    assert given == wanted | {"image_size": c.image_size}


def test_tests_show_whole_plates_also_where_training_cuts_them(monkeypatch):
    cuts = []
    monkeypatch.setattr(inputs.synthetic, "make_renderer", lambda *_, cut, **__: cuts.append(cut))
    c = quickstart.get_config()
    c.data.cut = 0.3
    inputs.make_inputs(c, jax.sharding.SingleDeviceSharding(jax.devices()[0]), jax.random.key(0))
    assert cuts == [0.3, 0.0]


def test_each_test_set_has_its_own_batches(monkeypatch):
    def test_sets(config, part):
        return {f"{i}": (1, lambda i=i: iter([{"weight": np.full(1, i)}])) for i in range(2)}

    monkeypatch.setattr(datasets, "test_sets", test_sets)
    c = files.get_config()
    c.data.augment = 0.0
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tests = inputs.make_inputs(c, sharding, None).tests
    seen = {name: [int(batch["weight"][0]) for batch in tests[name].batches()] for name in tests}
    assert seen == {"0": [0], "1": [1]}


@pytest.mark.parametrize("rendered", [0.0, 0.5])
def test_plates_of_files_and_rendered_ones_are_looked_at(rendered, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(datasets, "inspect_prepared", lambda *_: looked.append("files"))
    sheet = Image.new("RGB", (9, 9))
    monkeypatch.setattr(inputs, "rendered_sheet", lambda _: looked.append("rendered") or sheet)
    c = files.get_config()
    c.data.rendered = rendered
    inputs.inspect_run(c, tmp_path)
    assert looked == ["files", "rendered"][: 1 + bool(rendered)]

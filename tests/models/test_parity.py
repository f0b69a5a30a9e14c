"""Our network against an independent PyTorch statement of it, with the same random numbers."""

import jax
import numpy as np
import pytest

from hpa_jax import losses, torch_weights
from hpa_jax.models.hpa import HPANet, HPAOutput

torch = pytest.importorskip("torch", reason="parity needs PyTorch: pip install 'hpa_jax[torch]'")
from benchmarks import torch_training  # noqa: E402
from benchmarks.torch_hpa import HPAOutput as TorchOutput  # noqa: E402
from benchmarks.torch_hpa import TorchHPA  # noqa: E402


def random_torch(seed: int, **network) -> TorchHPA:
    """A PyTorch network with random batch norms around the statistics of random images.

    At its default statistics the logits hardly vary over plates and positions, and a wrong
    classifier input could go unseen. Residual branches are weak beside their shortcuts, as in
    trained networks, or 101 layers would amplify the rounding.
    """
    torch.manual_seed(seed)
    model = TorchHPA(**network)
    modules = dict(model.named_modules())
    norms = {name: m for name, m in modules.items() if isinstance(m, torch.nn.BatchNorm2d)}
    for name, norm in norms.items():
        norm.momentum = 1.0
        weak = ".layer" in name and "downsample" not in name
        norm.weight.data.uniform_(0.1, 0.4) if weak else norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.2)
    with torch.no_grad():
        model.train()(torch.rand(8, 3, 5, 8).repeat_interleave(10, 2).repeat_interleave(20, 3))
        for norm in norms.values():
            norm.running_mean += 0.1 * torch.randn_like(norm.bias) * norm.running_var.sqrt()
            norm.running_var *= 0.8 + 0.4 * torch.rand_like(norm.bias)
    return model.eval()


def state_of(model: "torch.nn.Module") -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def assert_close(ours: HPAOutput, theirs: TorchOutput) -> None:
    for name in ("logits", "semantic", "maps", "position"):
        a, b = getattr(ours, name), getattr(theirs, name)
        if b is None:
            assert a is None, name
            continue
        b = (b if name == "logits" else b.permute(0, 2, 3, 1)).numpy()
        assert a.shape == b.shape, name
        assert np.abs(np.asarray(a) - b).max() < 1e-4 * np.abs(b).max(), name


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ({}, (50, 160)),
        ({"classifier": "separate"}, (50, 160)),
        ({"attention": False, "classifier": "separate", "num_characters": 3}, (50, 160)),
        ({"void": True, "num_characters": 7, "num_classes": 24}, (50, 160)),
        ({}, (65, 192)),
    ],
    ids=["resnet18", "separate", "no_attention", "void", "65x192"],
)
def test_same_outputs_as_pytorch(network, size):
    reference = random_torch(0, **network)
    arguments, variables = torch_weights.from_vim_lpr(state_of(reference))
    assert {name: arguments[name] for name in network} == network
    model = HPANet(**arguments | {"grey": False})
    coarse = np.random.default_rng(0).random((3, 5, 8, 3), np.float32)
    images = coarse.repeat(size[0] // 5, axis=1).repeat(size[1] // 8, axis=2)
    ours = jax.jit(model.apply)(variables, images)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(images).permute(0, 3, 1, 2))
    spread = min(theirs.logits.std(0).max(), theirs.logits.std(1).max())
    assert spread > 0.05 * theirs.logits.abs().max(), "the reference tells no plates apart"
    assert_close(ours, theirs)
    assert (ours.maps is not None) == arguments["attention"]


def test_same_loss_and_gradients_as_pytorch():
    """Of equation 1 in training mode, through every parameter."""
    reference = random_torch(0)
    arguments, variables = torch_weights.from_vim_lpr(state_of(reference))
    model = HPANet(**arguments | {"grey": False})
    rng = np.random.default_rng(0)
    images = rng.random((3, 5, 8, 3), np.float32).repeat(10, axis=1).repeat(20, axis=2)
    batch = {
        "characters": rng.integers(0, 34, (3, 6)),
        "semantic": rng.integers(0, 35, (3, 50, 160)),
        "position": rng.integers(0, 7, (3, 50, 160)),
        "has_maps": np.ones(3, bool),
    }
    labels = [torch.from_numpy(batch[name]) for name in ("characters", "semantic", "position")]
    output = reference.train()(torch.from_numpy(images).permute(0, 3, 1, 2))
    theirs = torch_training.total_loss(output, *labels)
    theirs.backward()
    named = reference.named_parameters(remove_duplicate=False)
    parameters = {name: parameter.grad.numpy() for name, parameter in named}
    _, expected = torch_weights.from_vim_lpr(state_of(reference) | parameters)

    def loss(params):
        output, _ = model.apply(
            variables | {"params": params}, images, train=True, mutable=["batch_stats"]
        )
        weights = {"semantic": 1.0, "position": 1.0, "character": 1.0}
        return losses.total_loss(output, batch, weights)[0]

    ours, gradients = jax.jit(jax.value_and_grad(loss))(variables["params"])
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-5)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(gradients),
        jax.tree.leaves(expected["params"]),
        strict=True,
    ):
        # Rounding may turn a unit near 0 on or off, which changes all before it by some per cent;
        # biases before a batch norm have no gradient: what is there is rounding.
        error, size = np.linalg.norm(a - b), np.linalg.norm(b)
        assert error < 0.05 * size + 1e-4, jax.tree_util.keystr(path)

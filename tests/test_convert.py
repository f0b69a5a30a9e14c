"""Weights from PyTorch and back, through files, as a user converts them."""

import pickle
import resource

import jax
import numpy as np
import pytest
from PIL import Image

import hpa_jax
from hpa_jax import checkpoint, convert, readers, torch_weights, train_state, weights
from hpa_jax.models import resnet

torch = pytest.importorskip(
    "torch", reason="conversion needs PyTorch: pip install 'hpa_jax[torch]'"
)
from benchmarks import torch_hpa  # noqa: E402
from tests.models.test_parity import assert_close, random_torch, state_of  # noqa: E402
from tests.trap import Trap  # noqa: E402


def grey_levels(pixels: np.ndarray) -> "torch.Tensor":
    """What the authors' code feeds: 8-bit grey on three channels, in [0, 1], B×3×H×W."""
    grey = np.stack([np.asarray(Image.fromarray(x).convert("L")) for x in pixels])
    return torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).float() / 255


@pytest.mark.parametrize("backbone", resnet.STAGES)
def test_released_weights_read_as_in_pytorch(backbone, tmp_path):
    reference = random_torch(1, backbone=backbone, imagenet_head=True)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 5, 8, 3), np.uint8)
    pixels = coarse.repeat(10, axis=1).repeat(20, axis=2)
    with torch.no_grad():
        # Without their common part, the random logits of a plate have other characters on top.
        reference.classifier.bias -= reference(grey_levels(pixels)).logits.mean((0, 1))
        theirs = reference(grey_levels(pixels))
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    convert.convert_vim_lpr(tmp_path / "weights.pth", tmp_path / "reader")

    variables, metadata = checkpoint.load(tmp_path / "reader")
    model = hpa_jax.HPANet(**metadata["network"])
    assert_close(jax.jit(model.apply)(variables, pixels / np.float32(255)), theirs)
    texts = [hpa_jax.TAIWAN.decode(row) for row in theirs.logits.numpy().argmax(axis=-1)]
    assert len(set(texts)) > 1, "the reference tells no plates apart"
    readings = hpa_jax.load_recognizer(tmp_path / "reader").read(list(pixels))
    assert [reading.text for reading in readings] == texts


def test_what_weights_do_not_say_is_said_on_the_way_back(tmp_path):
    differing = convert.convert_back("cn_small", tmp_path / "weights.pth")
    assert differing[:2] == ["colour plates", "plates of 48×160 pixels"]
    assert "class ids of '京沪" in differing[2]


def test_back_to_pytorch_and_again_is_exact(tmp_path):
    reference = random_torch(2, imagenet_head=True)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    convert.convert_vim_lpr(tmp_path / "weights.pth", tmp_path / "reader")
    first = checkpoint.load(tmp_path / "reader")[0]
    loaded = torch_hpa.TorchHPA(imagenet_head=True)
    for suffix in (".pth", ".safetensors"):
        assert convert.convert_back(tmp_path / "reader", tmp_path / f"back{suffix}") == []
        state = convert.read_state_dict(tmp_path / f"back{suffix}")
        loaded.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
        for name, tensor in reference.state_dict().items():
            if ".fc." not in name and not name.endswith("num_batches_tracked"):
                assert torch.equal(tensor, loaded.state_dict()[name]), name
        _, second = torch_weights.from_vim_lpr(state)
        jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize(
    "network",
    [
        {"classifier": "separate", "width": 0.25, "void": True},
        {"classifier": "separate", "attention": False, "width": 0.5},
        {"width": 0.1875},
    ],
)
def test_any_network_of_ours_survives_the_round_trip(network):
    model = hpa_jax.HPANet(**network)
    tree = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 50, 160, 3), np.float32))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), tree)
    arguments, again = torch_weights.from_vim_lpr(torch_weights.to_vim_lpr(variables))
    assert {name: arguments[name] for name in network} == network
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_a_backbone_of_ones_own_has_no_counterpart():
    variables, _ = readers.load("tw_small")
    variables["params"]["backbone"]["context_path"]["Conv_0"] = {"kernel": np.zeros((3, 3, 3, 8))}
    with pytest.raises(ValueError, match="module backbone/context_path/Conv_0: has no counterpart"):
        torch_weights.to_vim_lpr(variables)


@pytest.mark.parametrize("backbone", resnet.STAGES)
def test_imagenet_stages_equal_pytorchs(backbone, tmp_path):
    torch.manual_seed(0)
    reference = torch_hpa.ContextPath(backbone, imagenet_head=True).eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(reference.features.state_dict(), tmp_path / "imagenet.pth")
    assert convert.convert_torchvision(tmp_path / "imagenet.pth", tmp_path / "imagenet") == backbone
    variables, metadata = checkpoint.load(tmp_path / "imagenet")
    assert metadata["network"] == {"backbone": backbone}
    images = np.random.default_rng(0).random((2, 50, 160, 3), np.float32)
    own = {name: tree["backbone"]["context_path"] for name, tree in variables.items()}
    ours = jax.jit(resnet.ResNet(backbone).apply, static_argnums=2)(own, images, False)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(images).permute(0, 3, 1, 2))[:2]
    for a, b in zip(ours, theirs, strict=True):
        b = b.permute(0, 2, 3, 1).numpy()
        assert np.abs(a - b).max() < 1e-4 * np.abs(b).max()


def test_a_backbone_is_no_reader_and_is_trained_from(tmp_path):
    state = torch_hpa.ResNet("resnet18", imagenet_head=True).state_dict()
    torch.save(state, tmp_path / "imagenet.pth")
    convert.convert_torchvision(tmp_path / "imagenet.pth", tmp_path / "imagenet")
    with pytest.raises(ValueError, match="holds a backbone and no reader.*config.init.backbone"):
        hpa_jax.load_recognizer(tmp_path / "imagenet")
    model = hpa_jax.HPANet()
    tree = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 50, 160, 3), np.float32))
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)
    metadata = {"network": {"backbone": "resnet18", "width": 1.0}}
    variables = train_state.load_backbone(tmp_path / "imagenet", metadata)
    grafted = weights.graft(fresh, variables, "backbone/context_path")
    kernel = grafted["params"]["backbone"]["context_path"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, state["conv1.weight"].permute(2, 3, 1, 0))
    with pytest.raises(ValueError, match="holds checkpoints already"):
        convert.convert_torchvision(tmp_path / "imagenet.pth", tmp_path / "imagenet")


def test_all_tensors_that_do_not_fit_are_listed():
    state = state_of(random_torch(0, imagenet_head=True))
    del state["conv_seg.bias"], state["context_path.layer1.0.bn1.running_mean"]
    state["bnSeg.weight"] = np.zeros(3, np.float32)
    state["extra.weight"] = np.zeros(1, np.float32)
    state["context_path.features.conv1.weight"] = state["context_path.conv1.weight"] + 1
    with pytest.raises(ValueError, match="^4 arrays do not fit") as caught:
        torch_weights.from_vim_lpr(state)
    for line in (
        "conv_seg.bias: missing",
        "bnSeg.weight: has shape (3,), must be (35,)",
        "extra.weight: unknown",
        "context_path.conv1.weight: differs from its duplicate",
    ):
        assert line in str(caught.value)
    del state["context_path.features.layer1.0.bn1.running_mean"]
    with pytest.raises(ValueError, match="layer1.0.bn1.running_mean: missing"):
        torch_weights.from_vim_lpr(state)
    with pytest.raises(ValueError, match="no.*ResNet-18"):
        torch_weights.from_torchvision(state)


@pytest.mark.parametrize("save", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))])
def test_a_file_that_would_run_code_is_refused(save, tmp_path):
    save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="weights.pth: refused"):
        convert.read_state_dict(tmp_path / "weights.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_without_a_state_dictionary_are_refused(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        convert.read_state_dict(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=name):
        convert.read_state_dict(tmp_path / name)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="no state dictionary"):
        convert.read_state_dict(tmp_path / "list.pth")


def test_what_cannot_be_a_state_dictionary_s_file_is_refused(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(OSError, match="folder.pth: is a folder"):
        convert.write_state_dict({}, tmp_path / "folder.pth")
    with pytest.raises(ValueError, match="must end in .pth or .safetensors"):
        convert.write_state_dict({}, tmp_path / "new/weights.bin")
    assert not (tmp_path / "new").exists()
    convert.write_state_dict({"a": np.ones(2)}, tmp_path / "new/weights.safetensors")
    assert convert.read_state_dict(tmp_path / "new/weights.safetensors")["a"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_there_stays_where_the_disk_is_full(suffix, tmp_path):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))  # Python passes over its signal
    try:
        with pytest.raises(OSError, match=f"weights{suffix}: cannot be written .File too large"):
            convert.write_state_dict({"a": np.ones(9_999, np.float32)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"before"]


def test_tensors_that_are_not_finite_are_named_and_parameters_are_tensors(tmp_path):
    state = dict(torch_hpa.ResNet("resnet18", imagenet_head=True).state_dict())
    state["conv1.weight"] = torch.nn.Parameter(state["conv1.weight"])
    torch.save(state, tmp_path / "whole.pth")
    convert.convert_torchvision(tmp_path / "whole.pth", tmp_path / "whole")
    state["bn1.bias"] = state["bn1.bias"] * np.nan
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"1 arrays do not fit:\n  bn1.bias: is not finite$"):
        convert.convert_torchvision(tmp_path / "broken.pth", tmp_path / "broken")


def test_weights_of_a_data_parallel_network_are_its_networks(tmp_path):
    network = torch.nn.DataParallel(torch_hpa.ResNet("resnet18", imagenet_head=True))
    torch.save(network.state_dict(), tmp_path / "parallel.pth")
    assert convert.convert_torchvision(tmp_path / "parallel.pth", tmp_path / "to") == "resnet18"


def test_tensors_that_numpy_cannot_hold_are_told(tmp_path):
    torch.save({"conv1.weight": torch.eye(3).to_sparse()}, tmp_path / "sparse.pth")
    with pytest.raises(ValueError, match="sparse.pth: has tensors that NumPy cannot hold"):
        convert.convert_torchvision(tmp_path / "sparse.pth", tmp_path / "sparse")


def test_the_charset_must_fit_the_classes(tmp_path):
    torch.save(random_torch(0, num_classes=24).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="reads 24 characters and the charset has 34"):
        convert.convert_vim_lpr(tmp_path / "weights.pth", tmp_path / "reader")
    convert.convert_vim_lpr(tmp_path / "weights.pth", tmp_path / "reader", hpa_jax.GREECE)
    metadata = checkpoint.load(tmp_path / "reader")[1]
    assert metadata["charset"] == hpa_jax.GREECE.characters and metadata["network"]["grey"]
    colour = tmp_path / "colour"
    convert.convert_vim_lpr(tmp_path / "weights.pth", colour, hpa_jax.GREECE, grey=False)
    assert not checkpoint.load(colour)[1]["network"]["grey"]


def test_weights_of_half_precision_become_float32(tmp_path):
    torch.save({"a": torch.full((2,), 1.5, dtype=torch.bfloat16)}, tmp_path / "half.pth")
    read = convert.read_state_dict(tmp_path / "half.pth")["a"]
    assert (read.dtype, read.tolist()) == (np.float32, [1.5, 1.5])
    state = state_of(torch_hpa.ResNet("resnet18", imagenet_head=False))
    half = {name: x.astype(np.float16) for name, x in state.items() if x.dtype == np.float32}
    _, variables = torch_weights.from_torchvision(half)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype(np.float32)}

"""The HPA network in PyTorch: an independent reference for tests and benchmarks.

Submodules carry the names of the authors' released weights, the misspelt `saptial_path` included,
so that a released state dictionary loads strictly (with `imagenet_head=True`).
Arrays are NCHW float32. B plates, Cp character positions, Cs character classes, h×w the features.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGE_DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}


class HPAOutput(NamedTuple):
    """What the network returns; `maps` and `position` are None without attention."""

    logits: Tensor  # B×Cp×outputs
    maps: Tensor | None  # B×Cp×h×w, softmax over positions and background, without the background
    semantic: Tensor  # B×(Cs+1)×h×w logits, before batch norm
    position: Tensor | None  # B×(Cp+1)×h×w logits, before softmax


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and -34."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """The residual block of ResNet-50 and -101; the 3×3 conv carries the stride."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """The tensors of torchvision's ResNet under torchvision's names; `ContextPath` runs it."""

    def __init__(self, backbone: str, imagenet_head: bool) -> None:
        super().__init__()
        block = BasicBlock if backbone in ("resnet18", "resnet34") else Bottleneck
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.stage_channels = [width * block.expansion for width in (64, 128, 256, 512)]
        in_channels = 64
        for stage, depth in enumerate(STAGE_DEPTHS[backbone]):
            out_channels, width = self.stage_channels[stage], 64 * 2**stage
            blocks = [block(in_channels, width, stride=1 if stage == 0 else 2)]
            blocks += [block(out_channels, width, stride=1) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            in_channels = out_channels
        if imagenet_head:
            self.fc = nn.Linear(in_channels, 1000)


class ContextPath(nn.Module):
    """ResNet stages 3 and 4, and the spatial mean of stage 4."""

    def __init__(self, backbone: str, imagenet_head: bool) -> None:
        super().__init__()
        self.features = ResNet(backbone, imagenet_head)
        # The released weights hold each tensor twice: under `features` and under an alias.
        for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(self.features, name))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        stage3 = self.layer3(self.layer2(self.layer1(x)))
        stage4 = self.layer4(stage3)
        return stage3, stage4, _spatial_mean(stage4)


class ConvBlock(nn.Module):
    """Convolution with bias, batch norm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 2
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv1(x)))


class AttentionRefinementModule(nn.Module):
    """Weights each channel by a sigmoid of the features' spatial mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.bn(self.conv(_spatial_mean(x))))


class FeatureFusionModule(nn.Module):
    """`convblock`, then a channel gate with a residual connection: f·gate + f."""

    def __init__(self, convblock: nn.Module, channels: int) -> None:
        super().__init__()
        self.convblock = convblock
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.convblock(x)
        hidden = functional.relu(self.conv1(_spatial_mean(features)))
        return features * torch.sigmoid(self.conv2(hidden)) + features


def _spatial_mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


class TorchHPA(nn.Module):
    """Holistic position attention for licence plates (paper, "Our Method").

    `void` adds one output class. Without `attention` there is no position network, and the
    classifiers are separate whatever `classifier` says: a shared one could not tell positions
    apart. `imagenet_head` registers the released weights' unused ImageNet classifier.
    Raises ValueError for an unknown backbone or classifier.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        num_characters: int = 6,
        num_classes: int = 34,
        classifier: Literal["shared", "separate"] = "shared",
        attention: bool = True,
        void: bool = False,
        imagenet_head: bool = False,
    ) -> None:
        super().__init__()
        if backbone not in STAGE_DEPTHS:
            raise ValueError(f"backbone: {backbone!r} is not one of {', '.join(STAGE_DEPTHS)}")
        if classifier not in ("shared", "separate"):
            raise ValueError(f"classifier: {classifier!r} is neither 'shared' nor 'separate'")
        self.num_characters = num_characters
        self.attention = attention
        self.shared = attention and classifier == "shared"

        self.saptial_path = nn.Sequential(
            OrderedDict(
                convblock1=ConvBlock(3, 64),
                convblock2=ConvBlock(64, 128),
                convblock3=ConvBlock(128, 256),
            )
        )
        self.context_path = ContextPath(backbone, imagenet_head)
        channels3, channels4 = self.context_path.features.stage_channels[2:]
        self.attention_refinement_module1 = AttentionRefinementModule(channels3)
        self.attention_refinement_module2 = AttentionRefinementModule(channels4)
        fused = 256 + channels3 + channels4

        channels = num_classes + 1  # the background is the last channel of both networks
        convs = nn.Sequential(ConvBlock(fused, 512, stride=1), ConvBlock(512, channels, stride=1))
        self.feature_fusion_module1 = FeatureFusionModule(convs, channels)
        self.conv_seg = nn.Conv2d(channels, channels, 1)
        self.bnSeg = nn.BatchNorm2d(channels)
        if attention:
            channels = num_characters + 1
            conv = ConvBlock(fused, channels, stride=1)
            self.feature_fusion_module2 = FeatureFusionModule(conv, channels)
            self.conv_pos = nn.Conv2d(channels, channels, 1)

        def head() -> tuple[nn.Module, nn.Module]:
            conv = ConvBlock(num_classes, 1000, kernel=5, stride=4)
            return nn.Sequential(conv), nn.Linear(1000, num_classes + void)

        if self.shared:
            self.convblock, self.classifier = head()
        else:
            convs, denses = zip(*[head() for _ in range(num_characters)], strict=True)
            self.convblock, self.classifier = nn.ModuleList(convs), nn.ModuleList(denses)

    def forward(self, images: Tensor) -> HPAOutput:
        """Reads B×3×H×W images in [0, 1]."""
        fused = self._fuse(images)
        semantic = self.conv_seg(self.feature_fusion_module1(fused))
        features = self.bnSeg(semantic)[:, :-1]
        if not self.attention:
            return HPAOutput(self._classify([features] * self.num_characters), None, semantic, None)
        position = self.conv_pos(self.feature_fusion_module2(fused))
        maps = position.softmax(1)[:, :-1]
        logits = self._classify([features * one_map for one_map in maps.split(1, dim=1)])
        return HPAOutput(logits, maps, semantic, position)

    def _fuse(self, images: Tensor) -> Tensor:
        spatial = self.saptial_path(images)
        stage3, stage4, tail = self.context_path(images)
        refined3 = self.attention_refinement_module1(stage3)
        refined4 = self.attention_refinement_module2(stage4) * tail
        upsample = nn.Upsample(spatial.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([spatial, upsample(refined3), upsample(refined4)], 1)

    def _classify(self, features: list[Tensor]) -> Tensor:
        """Cp feature maps of B×Cs×h×w -> logits B×Cp×outputs."""
        if self.shared:  # one pass, so that batch norm sees all positions together
            logits = self.classifier(self.convblock(torch.cat(features)).mean((2, 3)))
            return logits.unflatten(0, (self.num_characters, -1)).transpose(0, 1)
        heads = zip(features, self.convblock, self.classifier, strict=True)
        return torch.stack([dense(conv(x).mean((2, 3))) for x, conv, dense in heads], 1)

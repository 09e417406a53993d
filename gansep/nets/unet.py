"""A small two-dimensional U-Net: a picture in, pictures of the same size out, any height and width.

After Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (MICCAI 2015),
with what Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior" (CVPR 2018) found to make a good prior untrained: strided
convolutions down, interpolation up, thin skips, leaky rectifiers. Groups of channels are normalised, and not batches,
so that a picture's answer does not depend on others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky rectifiers
GROUP = 4  # channels that are normalised together


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a U-Net.

    Attributes:
        inputs: channels of the picture that goes in. outputs: of the one that comes out.
        widths: channels of each level from the finest, multiples of 4; each level has half the size of the one before.
        skip: channels that cross from a level's way down to its way up, a multiple of 4; 0 for none.
        kernel: of the convolutions, odd.
    """

    inputs: int = 8
    outputs: int = 1
    widths: tuple[int, ...] = (16, 16, 32, 32)
    skip: int = 4
    kernel: int = 3

    def __post_init__(self) -> None:
        if min(self.inputs, self.outputs) < 1:
            raise ValueError(f"inputs and outputs must be at least 1, got {self.inputs} and {self.outputs}")
        if not self.widths or any(width < 1 or width % GROUP for width in self.widths):
            raise ValueError(f"widths must be one or more multiples of {GROUP}, got {self.widths}")
        if self.skip < 0 or self.skip % GROUP:
            raise ValueError(f"skip must be 0 or a multiple of {GROUP}, got {self.skip}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")


class UNet(nn.Module):
    """Encoder and decoder with skips; the answer is linear, whoever needs a range squeezes it.

    ::

        x ---- skip ----------------------- up + join - conv - head -> y
          \\ down, conv - skip - up + join - conv /
             \\ down, conv ------------------- /

    Args:
        config: sizes.
    Shape: ``[B, inputs, F, N]`` to ``[B, outputs, F, N]``.

    >>> net = UNet(UNetConfig(inputs=2, outputs=3, widths=(8, 8)))
    >>> net(torch.randn(1, 2, 33, 7)).shape
    torch.Size([1, 3, 33, 7])
    """

    def __init__(self, config: UNetConfig = UNetConfig()) -> None:
        super().__init__()
        self.config = config
        above = (config.inputs, *config.widths[:-1])  # channels that enter each level
        self.down = nn.ModuleList(_Down(own, to, config.kernel) for own, to in zip(above, config.widths, strict=True))
        self.skips = nn.ModuleList(_block(own, config.skip, 1) if config.skip else nn.Identity() for own in above)
        below = (*config.widths[1:], config.widths[-1])  # channels that come up to each level
        self.up = nn.ModuleList(
            _block(under + config.skip, own, config.kernel) for under, own in zip(below, config.widths, strict=True)
        )
        self.head = nn.Conv2d(config.widths[0], config.outputs, 1)

    def forward(self, picture: Tensor) -> Tensor:
        if picture.ndim != 4 or picture.shape[1] != self.config.inputs or 0 in picture.shape:
            expected = f"[B, {self.config.inputs}, F, N] with B, F, N >= 1"
            raise ValueError(f"expected a picture of shape {expected}, got {list(picture.shape)}")
        levels = [picture]
        for down in self.down:
            levels.append(down(levels[-1]))  # [B, C, ceil(F / 2^l), ceil(N / 2^l)]
        answer = levels.pop()
        for level, skip, up in reversed(list(zip(levels, self.skips, self.up, strict=True))):
            answer = F.interpolate(answer, level.shape[-2:], mode="nearest")
            if self.config.skip:
                answer = torch.cat([answer, skip(level)], 1)
            answer = up(answer)
        return self.head(answer)


def _block(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(channels_out // GROUP, channels_out),
        nn.LeakyReLU(SLOPE),
    )


class _Down(nn.Sequential):
    """Half the size, rounded up, then a second look: ``[B, C_in, F, N]`` to ``[B, C_out, F / 2, N / 2]``."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__(_block(channels_in, channels_out, kernel, 2), _block(channels_out, channels_out, kernel))

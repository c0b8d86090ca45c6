"""A second StarGAN v2 in plain PyTorch, written from the published rules of the authors' code alone.

It shares no code and no design with `translate`. What chance decides, the random codes, is fed.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT2 = 2**0.5


def halved(x: Tensor) -> Tensor:
    """Means of 2×2 pixels."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def doubled(x: Tensor) -> Tensor:
    """Each pixel as 2×2 pixels."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def own_rows(outputs: list[Tensor], y: Tensor) -> Tensor:
    """Of each image the output of its own kind; the others get a gradient of zero, so that weight decay moves them too."""
    return torch.stack(outputs)[y, torch.arange(len(y))]


def normalised(x: Tensor) -> Tensor:
    centred = x - x.mean((2, 3), keepdim=True)
    return centred / torch.sqrt((centred**2).mean((2, 3), keepdim=True) + 1e-5)


class Block(nn.Module):
    """Residual block; with `norms` affine instance norms in front of both convolutions."""

    def __init__(self, cin: int, cout: int, norms: bool, down: bool) -> None:
        super().__init__()
        self.down = down
        if norms:
            self.n1, self.n2 = (nn.InstanceNorm2d(cin, affine=True) for _ in range(2))
        else:
            self.n1, self.n2 = nn.Identity(), nn.Identity()
        self.c1, self.c2 = nn.Conv2d(cin, cin, 3, 1, 1), nn.Conv2d(cin, cout, 3, 1, 1)
        self.skip = nn.Conv2d(cin, cout, 1, bias=False) if cin != cout else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.c1(leaky(self.n1(x)))
        side = x if self.skip is None else self.skip(x)
        if self.down:
            y, side = halved(y), halved(side)
        return (side + self.c2(leaky(self.n2(y)))) / ROOT2


class Styled(nn.Module):
    """Residual block of the decoder; scale and shift of its norms come from the style."""

    def __init__(self, cin: int, cout: int, style: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.s1, self.s2 = nn.Linear(style, 2 * cin), nn.Linear(style, 2 * cout)
        self.c1, self.c2 = nn.Conv2d(cin, cout, 3, 1, 1), nn.Conv2d(cout, cout, 3, 1, 1)
        self.skip = nn.Conv2d(cin, cout, 1, bias=False) if cin != cout else None

    @staticmethod
    def adapted(x: Tensor, numbers: Tensor) -> Tensor:
        c = x.shape[1]
        return normalised(x) * (numbers[:, :c, None, None] + 1) + numbers[:, c:, None, None]

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        y = leaky(self.adapted(x, self.s1(s)))
        if self.up:
            x, y = doubled(x), doubled(y)
        y = self.c2(leaky(self.adapted(self.c1(y), self.s2(s))))
        return ((x if self.skip is None else self.skip(x)) + y) / ROOT2


class Generator(nn.Module):
    """`widths`: channels of the maps from the whole size to the smallest; two blocks on either side keep that."""

    def __init__(self, widths: list[int], style: int) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        a, c = widths[0], widths[-1]
        self.rgb = nn.Conv2d(3, a, 3, 1, 1)
        self.down = nn.ModuleList(
            [*(Block(*step, True, True) for step in steps), *(Block(c, c, True, False) for _ in "12")]
        )
        self.up = nn.ModuleList(
            [*(Styled(c, c, style, False) for _ in "12"), *(Styled(b, a, style, True) for a, b in reversed(steps))]
        )
        self.norm, self.out = nn.InstanceNorm2d(a, affine=True), nn.Conv2d(a, 3, 1)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        x = self.rgb(x)
        for block in self.down:
            x = block(x)
        for block in self.up:
            x = block(x, s)
        return self.out(leaky(self.norm(x)))


class Trunk(nn.Module):
    """Halvings to 4 pixels a side, and a convolution over all of them."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.rgb = nn.Conv2d(3, widths[0], 3, 1, 1)
        steps = pairwise(widths)
        self.blocks = nn.ModuleList(Block(*step, False, True) for step in steps)
        self.features = widths[-1]
        self.all = nn.Conv2d(self.features, self.features, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rgb(x)
        for block in self.blocks:
            x = block(x)
        return leaky(self.all(leaky(x))).flatten(1)


class Encoder(nn.Module):
    def __init__(self, widths: list[int], style: int, kinds: int) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.heads = nn.ModuleList(nn.Linear(self.trunk.features, style) for _ in range(kinds))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.trunk(x)
        return own_rows([head(h) for head in self.heads], y)


class Critic(nn.Module):
    def __init__(self, widths: list[int], kinds: int) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.head = nn.Linear(self.trunk.features, kinds)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.trunk(x))[range(len(y)), y]


class Mapping(nn.Module):
    def __init__(self, latent: int, hidden: int, style: int, kinds: int) -> None:
        super().__init__()
        self.shared = nn.ModuleList(nn.Linear(latent if n == 0 else hidden, hidden) for n in range(4))
        self.own = nn.ModuleList(
            nn.ModuleList(nn.Linear(hidden, style if n == 3 else hidden) for n in range(4)) for _ in range(kinds)
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        for layer in self.shared:
            z = layer(z).relu()
        outputs = []
        for layers in self.own:
            h = z
            for n, layer in enumerate(layers):
                h = layer(h) if n == 3 else layer(h).relu()
            outputs.append(h)
        return own_rows(outputs, y)


def entropy(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


class StarGANV2:
    """Four optimizers, and the authors' order of passes: the critic by codes and by references, then the others likewise."""

    def __init__(self, g: Generator, f: Mapping, e: Encoder, d: Critic) -> None:
        self.g, self.f, self.e, self.d = g, f, e, d
        self.adam = {
            name: torch.optim.Adam(net.parameters(), lr=rate, betas=(0.0, 0.99), weight_decay=1e-4)
            for name, net, rate in (("g", g, 1e-4), ("f", f, 1e-6), ("e", e, 1e-4), ("d", d, 1e-4))
        }
        self.diversity = 1.0

    def minimise(self, losses: dict[str, Tensor], names: str) -> dict[str, Tensor]:
        for optimizer in self.adam.values():
            optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        for name in names:
            self.adam[name].step()
        return {name: loss.detach() for name, loss in losses.items()}

    def critic(self, x: Tensor, y: Tensor, target: Tensor, style: Tensor, name: str) -> dict[str, Tensor]:
        x = x.clone().requires_grad_()
        real = self.d(x, y)
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        fake = self.g(x, style).detach()
        losses = {
            f"d/adv_{name}": entropy(real, 1) + entropy(self.d(fake, target), 0),
            f"d/r1_{name}": 0.5 * (slope**2).flatten(1).sum(1).mean(),
        }
        return self.minimise(losses, "d")

    def makers(
        self, x: Tensor, y: Tensor, target: Tensor, styles: tuple[Tensor, Tensor], name: str, learning: str
    ) -> dict[str, Tensor]:
        style, other = styles
        fake = self.g(x, style)
        losses = {
            f"g/adv_{name}": entropy(self.d(fake, target), 1),
            f"g/style_{name}": (self.e(fake, target) - style).abs().mean(),
            f"g/diversity_{name}": -self.diversity * (fake - self.g(x, other).detach()).abs().mean(),
            f"g/cycle_{name}": (self.g(fake, self.e(x, y)) - x).abs().mean(),
        }
        return self.minimise(losses, learning)

    def step(
        self, x: Tensor, y: Tensor, references: tuple[Tensor, Tensor], target: Tensor, codes: tuple[Tensor, Tensor],
        iterations: int,
    ) -> dict[str, Tensor]:  # fmt: skip
        first, second = references
        logged = self.critic(x, y, target, self.f(codes[0], target).detach(), "latent")
        logged |= self.critic(x, y, target, self.e(first, target).detach(), "reference")
        styles = self.f(codes[0], target), self.f(codes[1], target)
        logged |= self.makers(x, y, target, styles, "latent", "gfe")
        styles = self.e(first, target), self.e(second, target)
        logged |= self.makers(x, y, target, styles, "reference", "g")
        self.diversity -= 1 / iterations
        return logged

"""A second BicycleGAN in plain PyTorch, written from the published rules of the authors' code alone.

It shares no code and no design with `translate`. What chance decides, the noise of encoded codes and the random codes, is fed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=False)


class Level(nn.Module):
    """One level of the U-Net with all deeper ones inside; z is joined to what each halving sees."""

    def __init__(self, cin: int, cout: int, widths: list[int], latent: int, outermost: bool = False) -> None:
        super().__init__()
        inner, deeper = widths[0], widths[1:]
        down: list[nn.Module] = [nn.Conv2d(cin + latent, inner, 4, 2, 1)]
        if not outermost:
            down = [nn.LeakyReLU(0.2), *down, *([norm(inner)] if deeper else [])]
        self.down = nn.Sequential(*down)
        self.inside = Level(inner, inner, deeper, latent) if deeper else None
        up = nn.ConvTranspose2d(2 * inner if deeper else inner, cout, 4, 2, 1)
        self.up = nn.Sequential(nn.ReLU(), up, nn.Tanh() if outermost else norm(cout))
        self.outermost = outermost

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        planes = z.view(*z.shape, 1, 1).expand(*z.shape, *x.shape[2:])
        y = self.down(torch.cat([x, planes], 1))
        y = self.up(y if self.inside is None else self.inside(y, z))
        return y if self.outermost else torch.cat([x, y], 1)

    def convolutions(self) -> list[nn.Module]:
        """Convolutions from the outside in, that down and that up of each level."""
        own = [m for m in (*self.down, *self.up) if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        return own + ([] if self.inside is None else self.inside.convolutions())


class Block(nn.Module):
    """Residual block of the encoder, with norm and activation first, and means of 2×2 pixels at its end."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(cin, cin, 3, 1, 1), nn.Conv2d(cin, cout, 3, 1, 1)
        self.side = nn.Conv2d(cin, cout, 1)
        self.norm = norm(cin)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(self.norm(x), 0.2))
        y = self.second(F.leaky_relu(self.norm(y), 0.2))
        return F.avg_pool2d(y, 2) + self.side(F.avg_pool2d(x, 2))


class Encoder(nn.Module):
    """Sees images of 8·2^halvings pixels a side."""

    def __init__(self, width: int, latent: int, halvings: int) -> None:
        super().__init__()
        widths = [width * min(4, n + 1) for n in range(halvings)]
        self.stem = nn.Conv2d(3, width, 4, 2, 1)
        self.blocks = nn.ModuleList(Block(widths[n], widths[n + 1]) for n in range(halvings - 1))
        self.fc, self.fc_var = nn.Linear(widths[-1], latent), nn.Linear(widths[-1], latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        flat = F.avg_pool2d(F.leaky_relu(x, 0.2), 8).flatten(1)
        return self.fc(flat), self.fc_var(flat)


class Critic(nn.Module):
    """PatchGANs of two scales; the second has half the width."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(self.patch(w, layers) for w in (width, width // 2))

    @staticmethod
    def patch(width: int, layers: int) -> nn.Sequential:
        stack: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for n in range(1, layers + 1):
            before, after = width * min(2 ** (n - 1), 8), width * min(2**n, 8)
            stack += [nn.Conv2d(before, after, 4, 2 if n < layers else 1, 1), norm(after), nn.LeakyReLU(0.2)]
        return nn.Sequential(*stack, nn.Conv2d(after, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        smaller = F.avg_pool2d(x, 3, 2, [1, 1], count_include_pad=False)
        return [self.nets[0](x), self.nets[1](smaller)]


def adversarial(logits: list[Tensor], label: float) -> Tensor:
    """Least squares, added up over scales."""
    return torch.stack([((x - label) ** 2).mean() for x in logits]).sum()


class BicycleGAN:
    """Four optimizers, and the authors' order of backward passes and steps."""

    def __init__(self, g: Level, e: Encoder, d: Critic, d2: Critic) -> None:
        self.g, self.e, self.d, self.d2 = g, e, d, d2
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, e, d, d2)]

    def step(self, a: Tensor, b: Tensor, noise: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The first half of the batch is translated; the second half of b is what d2 takes for real."""
        half = len(a) // 2
        a1, b1, b2 = a[:half], b[:half], b[half:]
        of_g, of_e, of_d, of_d2 = self.optimizers
        mu, logvar = self.e(b1)
        encoded = self.g(a1, noise * torch.exp(logvar / 2) + mu)
        random = self.g(a1, z)
        mu_again, _ = self.e(random)

        for net, frozen in ((self.d, True), (self.d2, True)):
            net.requires_grad_(not frozen)
        of_e.zero_grad()
        of_g.zero_grad()
        losses = {
            "g/adv_encoded": adversarial(self.d(encoded), 1),
            "g/adv_random": adversarial(self.d2(random), 1),
            "g/l1": 10 * (encoded - b1).abs().mean(),
            "g/kl": 0.01 * -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp()) / half,
        }
        torch.stack(list(losses.values())).sum().backward(retain_graph=True)
        self.e.requires_grad_(False)
        losses["g/z"] = 0.5 * (mu_again - z).abs().mean()
        losses["g/z"].backward()
        self.e.requires_grad_(True)
        of_e.step()
        of_g.step()

        for name, net, optimizer, real, fake in (
            ("d/adv_encoded", self.d, of_d, b1, encoded), ("d/adv_random", self.d2, of_d2, b2, random),
        ):  # fmt: skip
            net.requires_grad_(True)
            optimizer.zero_grad()
            losses[name] = adversarial(net(fake.detach()), 0) + adversarial(net(real), 1)
            losses[name].backward()
            optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

"""A second pix2pixHD in plain PyTorch, written from the published rules of its authors' code alone.

It shares no code and no design with `translate`: where both give the same numbers, they do so for having the same rules.
Weights go from one to the other by `load_state_dict(strict=True)`, so the names of attributes are those of the authors'
checkpoints.
"""

import torch
from torch import Tensor, nn


def smaller(x: Tensor) -> Tensor:
    """Half the size."""
    return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)(x)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = [
            [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)] for _ in range(2)
        ]
        self.conv_block = nn.Sequential(*half[0], nn.ReLU(), *half[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def wide(cin: int, cout: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(cin, cout, 7)]


def normed(conv: nn.Module, channels: int) -> list[nn.Module]:
    return [conv, nn.InstanceNorm2d(channels), nn.ReLU()]


def down(cin: int) -> list[nn.Module]:
    return normed(nn.Conv2d(cin, 2 * cin, 3, stride=2, padding=1), 2 * cin)


def up(cin: int) -> list[nn.Module]:
    return normed(nn.ConvTranspose2d(cin, cin // 2, 3, stride=2, padding=1, output_padding=1), cin // 2)


def global_layers(cin: int, cout: int, width: int, downs: int, blocks: int) -> list[nn.Module]:
    pad, conv = wide(cin, width)
    layers = [pad, *normed(conv, width)]
    for level in range(downs):
        layers += down(width * 2**level)
    layers += [Block(width * 2**downs) for _ in range(blocks)]
    for level in range(downs, 0, -1):
        layers += up(width * 2**level)
    return [*layers, *wide(width, cout), nn.Tanh()]


class GlobalGenerator(nn.Module):
    def __init__(self, cin: int, cout: int, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*global_layers(cin, cout, width, downs, blocks))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LocalEnhancer(nn.Module):
    """A global generator of twice the width at half the size, without its last three layers, and three blocks of its own."""

    def __init__(self, cin: int, cout: int, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*global_layers(cin, cout, 2 * width, downs, blocks)[:-3])
        pad, conv = wide(cin, width)
        self.model1_1 = nn.Sequential(pad, *normed(conv, width), *down(width))
        out = [*up(2 * width), *wide(width, cout), nn.Tanh()]
        self.model1_2 = nn.Sequential(*[Block(2 * width) for _ in range(3)], *out)

    def forward(self, x: Tensor) -> Tensor:
        return self.model1_2(self.model1_1(x) + self.model(smaller(x)))


class Critics(nn.Module):
    """PatchGANs at several sizes; lists of all their maps, the logits last, for the whole size first."""

    def __init__(self, cin: int, width: int, scales: int, layers: int) -> None:
        super().__init__()
        self.scales, self.layers = scales, layers
        for scale in range(scales):
            channels = [cin, *[min(width * 2**n, 512) for n in range(layers + 1)], 1]
            for n in range(layers + 2):
                conv = nn.Conv2d(channels[n], channels[n + 1], 4, stride=2 if n < layers else 1, padding=2)
                parts = [conv]
                if 0 < n <= layers:
                    parts.append(nn.InstanceNorm2d(channels[n + 1]))
                if n <= layers:
                    parts.append(nn.LeakyReLU(0.2))
                setattr(self, f"scale{scale}_layer{n}", nn.Sequential(*parts))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        found = []
        for scale in range(self.scales - 1, -1, -1):
            maps, y = [], x
            for n in range(self.layers + 2):
                y = getattr(self, f"scale{scale}_layer{n}")(y)
                maps.append(y)
            found.append(maps)
            x = smaller(x)
        return found


class Trainer:
    """One forward pass makes all losses; then the generator is stepped, and then the critics on the losses of before.

    With `fixed_epochs` its first optimizer knows the local layers alone, and a new one of all layers takes its place.
    """

    lr, lambda_features = 2e-4, 10.0

    def __init__(
        self, g: nn.Module, d: Critics, *, epochs: int, decay_epochs: int, steps_per_epoch: int, fixed_epochs: int = 0
    ) -> None:
        self.g, self.d = g, d
        self.epochs, self.decay_epochs, self.per_epoch, self.fixed_epochs = (
            epochs,
            decay_epochs,
            steps_per_epoch,
            fixed_epochs,
        )
        trained = [p for key, p in g.named_parameters() if not fixed_epochs or key.startswith("model1")]
        self.optimizer_g = torch.optim.Adam(trained, self.lr, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(d.parameters(), self.lr, betas=(0.5, 0.999))
        self.old_lr, self.steps = self.lr, 0

    def adversarial(self, found: list[list[Tensor]], real: bool) -> Tensor:
        return sum(nn.functional.mse_loss(maps[-1], torch.full_like(maps[-1], float(real))) for maps in found)

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        fake = self.g(a)
        on_fake = self.d(torch.cat([a, fake.detach()], 1))
        on_real = self.d(torch.cat([a, b], 1))
        on_generated = self.d(torch.cat([a, fake], 1))
        matching = 0.0
        for generated, real in zip(on_generated, on_real, strict=True):
            for x, y in zip(generated[:-1], real[:-1], strict=True):
                per_scale, per_layer = 1 / self.d.scales, 4 / (self.d.layers + 1)
                matching = matching + per_scale * per_layer * self.lambda_features * nn.functional.l1_loss(
                    x, y.detach()
                )
        losses = {"adv": self.adversarial(on_generated, True), "feature_matching": matching}
        d_loss = (self.adversarial(on_fake, False) + self.adversarial(on_real, True)) * 0.5

        self.optimizer_g.zero_grad()
        gradients = torch.autograd.grad(
            losses["adv"] + matching, self.optimizer_g.param_groups[0]["params"], retain_graph=True
        )
        d_gradients = torch.autograd.grad(d_loss, list(self.d.parameters()))
        for p, gradient in zip(self.optimizer_g.param_groups[0]["params"], gradients, strict=True):
            p.grad = gradient
        for p, gradient in zip(self.d.parameters(), d_gradients, strict=True):
            p.grad = gradient
        self.optimizer_g.step()
        self.optimizer_d.step()
        self.steps += 1
        if self.steps % self.per_epoch == 0:
            self.end_epoch(self.steps // self.per_epoch)
        return {**{f"g/{key}": value.detach() for key, value in losses.items()}, "d/adv": d_loss.detach()}

    def end_epoch(self, epoch: int) -> None:
        """After epoch number `epoch`, from 1."""
        if self.fixed_epochs and epoch == self.fixed_epochs:
            self.optimizer_g = torch.optim.Adam(self.g.parameters(), self.lr, betas=(0.5, 0.999))
        if epoch > self.epochs:
            self.old_lr -= self.lr / self.decay_epochs
            for optimizer in (self.optimizer_g, self.optimizer_d):
                for group in optimizer.param_groups:
                    group["lr"] = self.old_lr

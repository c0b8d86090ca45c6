"""A second pix2pix and CycleGAN in plain PyTorch, written from the published rules of the reference implementation alone.

It shares no code and no design with `translate`: where both give the same numbers, they do so for having the same rules.
Weights go from one to the other by `load_state_dict(strict=True)`, so the names of attributes are those of the reference's
checkpoints. Networks of a trainer are named by their role: `g_ab` maps a to b, `d_b` judges images of b.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,  # neither affine nor with running statistics
    "none": nn.Identity,
}


def needs_bias(norm: str) -> bool:
    """Whether convolutions before a norm have a bias: not even without any norm, a quirk of the reference."""
    return norm == "instance"


class ResnetBlock(nn.Module):
    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        first, second = (
            [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=needs_bias(norm)), NORMS[norm](channels)]
            for _ in range(2)
        )
        between = [nn.ReLU(), nn.Dropout(0.5)] if dropout else [nn.ReLU()]
        self.conv_block = nn.Sequential(*first, *between, *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Johnson et al.'s network: 7×7, two halvings, residual blocks, two doublings, 7×7 and tanh."""

    def __init__(self, cin: int, cout: int, width: int, norm: str, dropout: bool, blocks: int) -> None:
        super().__init__()
        bias = needs_bias(norm)
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(cin, width, 7, bias=bias), NORMS[norm](width)]
        layers += [nn.ReLU()]
        for narrow, wide in ((width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=bias), NORMS[norm](wide), nn.ReLU()]
        layers += [ResnetBlock(4 * width, norm, dropout) for _ in range(blocks)]
        for wide, narrow in ((4 * width, 2 * width), (2 * width, width)):
            up = nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += [up, NORMS[norm](narrow), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, cout, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UnetBlock(nn.Module):
    """One level of a U-Net with all deeper ones inside; its input is joined to its output but at the outermost."""

    def __init__(self, layers: list[nn.Module], outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UnetGenerator(nn.Module):
    """Halves `levels` times and doubles as often. Dropout is on the levels between the innermost and the fourth."""

    def __init__(self, cin: int, cout: int, width: int, norm: str, dropout: bool, levels: int) -> None:
        super().__init__()
        bias = needs_bias(norm)
        down = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
        up = partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)
        widths = [width * min(2**level, 8) for level in range(levels)]
        block = UnetBlock([
            nn.LeakyReLU(0.2), down(widths[-2], widths[-1], bias=bias),
            nn.ReLU(), up(widths[-1], widths[-2], bias=bias), NORMS[norm](widths[-2]),
        ])  # fmt: skip
        for level in reversed(range(1, levels - 1)):
            outer, inner = widths[level - 1], widths[level]
            layers: list[nn.Module] = [
                nn.LeakyReLU(0.2), down(outer, inner, bias=bias), NORMS[norm](inner),
                block,
                nn.ReLU(), up(2 * inner, outer, bias=bias), NORMS[norm](outer),
            ]  # fmt: skip
            if dropout and level >= 4:
                layers.append(nn.Dropout(0.5))
            block = UnetBlock(layers)
        outermost: list[nn.Module] = [down(cin, width, bias=bias), block, nn.ReLU(), up(2 * width, cout), nn.Tanh()]
        self.model = UnetBlock(outermost, outermost=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PatchDiscriminator(nn.Module):
    """PatchGAN: `layers` halvings and two convolutions of stride 1; width doubles up to eightfold. Logits of patches."""

    def __init__(self, cin: int, width: int, norm: str, layers: int = 3) -> None:
        super().__init__()
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        stack: list[nn.Module] = [nn.Conv2d(cin, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            conv = nn.Conv2d(widths[i - 1], widths[i], 4, stride=stride, padding=1, bias=needs_bias(norm))
            stack += [conv, NORMS[norm](widths[i]), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PixelDiscriminator(nn.Module):
    """1×1 convolutions alone."""

    def __init__(self, cin: int, width: int, norm: str) -> None:
        super().__init__()
        bias = needs_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(cin, width, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=bias), NORMS[norm](2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def generator(name: str, cin: int, cout: int, width: int, norm: str, dropout: bool) -> nn.Module:
    """By the reference's names: resnet_9blocks; unet_256, where 256 = 2^8 halves eight times."""
    kind, size = name.split("_")
    if kind == "resnet":
        return ResnetGenerator(cin, cout, width, norm, dropout, blocks=int(size.removesuffix("blocks")))
    return UnetGenerator(cin, cout, width, norm, dropout, levels=int(size).bit_length() - 1)


def discriminator(name: str, cin: int, width: int, norm: str, layers: int) -> nn.Module:
    if name == "pixel":
        return PixelDiscriminator(cin, width, norm)
    return PatchDiscriminator(cin, width, norm, 3 if name == "basic" else layers)


class Pool:
    """Past fakes for a critic. What chance decides once it is full, swap or not and with which, is fed: one per image."""

    def __init__(self, size: int, decisions: Iterator[tuple[bool, int]]) -> None:
        self.size, self.decisions = size, decisions
        self.stored: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        out = []
        for image in images:
            if len(self.stored) < self.size:
                self.stored.append(image)
                out.append(image)
                continue
            swap, index = next(self.decisions)
            if swap:
                out.append(self.stored[index])
                self.stored[index] = image
            else:
                out.append(image)
        return torch.stack(out)


def idle_biases(net: nn.Module) -> set[str]:
    """Names of the biases that the instance norm behind them takes away again: they have no gradient but rounding."""
    return {
        f"{path}.{name}.bias"
        for path, stack in net.named_modules()
        if isinstance(stack, nn.Sequential)
        for (name, conv), (_, norm) in pairwise(stack.named_children())
        if isinstance(norm, nn.InstanceNorm2d) and conv.bias is not None
    }


def lr_factor(count: int, epochs: int, decay_epochs: int) -> float:
    """What the rate is multiplied by once the scheduler has been stepped `count` times; epochs are counted from 1."""
    return 1 - max(0, count + 1 - epochs) / (decay_epochs + 1)


def adam(*nets: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam([p for net in nets for p in net.parameters()], lr=2e-4, betas=(0.5, 0.999))


def judged(criterion: nn.Module, logits: Tensor, real: bool) -> Tensor:
    """The adversarial loss of logits against the label 1 or 0."""
    return criterion(logits, torch.full_like(logits, float(real)))


class Trainer:
    """Two optimizers and their schedulers, stepped at the end of each epoch."""

    def __init__(self, generators: list[nn.Module], critics: list[nn.Module], epochs: int, decay_epochs: int) -> None:
        self.critics = critics
        self.optimizer_g, self.optimizer_d = adam(*generators), adam(*critics)
        factor = partial(lr_factor, epochs=epochs, decay_epochs=decay_epochs)
        self.schedulers = [torch.optim.lr_scheduler.LambdaLR(o, factor) for o in (self.optimizer_g, self.optimizer_d)]

    def end_epoch(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()

    def freeze_critics(self, frozen: bool) -> None:
        for critic in self.critics:
            critic.requires_grad_(not frozen)


class CycleGAN(Trainer):
    """Least squares, cycle weight 10, identity weight 0.5 of it. The reference calls d_b netD_A, and d_a netD_B."""

    lambda_a = lambda_b = 10.0
    lambda_identity = 0.5

    def __init__(
        self, g_ab: nn.Module, g_ba: nn.Module, d_a: nn.Module, d_b: nn.Module, pool_a: Pool, pool_b: Pool,
        epochs: int, decay_epochs: int,
    ) -> None:  # fmt: skip
        super().__init__([g_ab, g_ba], [d_a, d_b], epochs, decay_epochs)
        self.g_ab, self.g_ba, self.d_a, self.d_b = g_ab, g_ba, d_a, d_b
        self.pool_a, self.pool_b = pool_a, pool_b
        self.gan, self.l1 = nn.MSELoss(), nn.L1Loss()

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Both generators first, the critics held still; then both critics, on fakes of before that update."""
        fake_b = self.g_ab(a)
        rec_a = self.g_ba(fake_b)
        fake_a = self.g_ba(b)
        rec_b = self.g_ab(fake_a)

        self.freeze_critics(True)
        losses = {
            "g/identity_a": self.l1(self.g_ba(a), a) * self.lambda_a * self.lambda_identity,
            "g/identity_b": self.l1(self.g_ab(b), b) * self.lambda_b * self.lambda_identity,
            "g/adv_ab": judged(self.gan, self.d_b(fake_b), True),
            "g/adv_ba": judged(self.gan, self.d_a(fake_a), True),
            "g/cycle_a": self.l1(rec_a, a) * self.lambda_a,
            "g/cycle_b": self.l1(rec_b, b) * self.lambda_b,
        }
        self.optimizer_g.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer_g.step()

        self.freeze_critics(False)
        self.optimizer_d.zero_grad()
        for side, critic, real, fake, pool in (
            ("d/adv_b", self.d_b, b, fake_b, self.pool_b),
            ("d/adv_a", self.d_a, a, fake_a, self.pool_a),
        ):
            past = pool.query(fake.detach())
            losses[side] = 0.5 * (judged(self.gan, critic(real), True) + judged(self.gan, critic(past), False))
            losses[side].backward()
        self.optimizer_d.step()
        return {name: loss.detach() for name, loss in losses.items()}


class Pix2Pix(Trainer):
    """Cross-entropy, L1 weight 100; the critic sees input and output together."""

    lambda_l1 = 100.0

    def __init__(self, g: nn.Module, d: nn.Module, epochs: int, decay_epochs: int) -> None:
        super().__init__([g], [d], epochs, decay_epochs)
        self.g, self.d = g, d
        self.gan, self.l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """The critic first; then the generator, whose fake of before it the moved critic judges anew."""
        fake = self.g(a)

        self.freeze_critics(False)
        self.optimizer_d.zero_grad()
        on_fake = judged(self.gan, self.d(torch.cat([a, fake.detach()], 1)), False)
        on_real = judged(self.gan, self.d(torch.cat([a, b], 1)), True)
        losses = {"d/adv": 0.5 * (on_real + on_fake)}
        losses["d/adv"].backward()
        self.optimizer_d.step()

        self.freeze_critics(True)
        losses |= {
            "g/adv": judged(self.gan, self.d(torch.cat([a, fake], 1)), True),
            "g/l1": self.l1(fake, b) * self.lambda_l1,
        }
        self.optimizer_g.zero_grad()
        (losses["g/adv"] + losses["g/l1"]).backward()
        self.optimizer_g.step()
        return {name: loss.detach() for name, loss in losses.items()}

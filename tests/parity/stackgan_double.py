"""A second StackGAN, of both stages, in plain PyTorch, written from the published rules of the authors' code alone.

It shares no code and no design with `translate`. What chance decides, the noise and the conditions around their means, is fed.
Its encoder of texts is a table of vectors and a linear layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Text(nn.Module):
    """Mean of the vectors of a text's tokens, standardised, and a linear layer."""

    def __init__(self, buckets: int, hidden: int, size: int) -> None:
        super().__init__()
        self.table, self.fc = nn.Parameter(torch.zeros(buckets, hidden)), nn.Linear(hidden, size)

    def forward(self, tokens: Tensor) -> Tensor:
        rows = []
        for own in tokens:
            mean = self.table[own[own > 0]].mean(0)
            rows.append((mean - mean.mean()) / torch.sqrt(mean.var(unbiased=False) + 1e-5))
        return self.fc(torch.stack(rows))


def conv3(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, 1, 1, bias=False)


class Up(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv, self.bn = conv3(cin, cout), nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))))


class Generator(nn.Module):
    """32 pixels: three doublings of 4×4."""

    def __init__(self, width: int, noise: int, size: int, text: int, doublings: int = 3) -> None:
        super().__init__()
        self.ca, self.size, self.first = nn.Linear(text, 2 * size), size, width * 2**doublings // 2
        self.fc, self.bn = nn.Linear(noise + size, self.first * 16, bias=False), nn.BatchNorm1d(self.first * 16)
        self.ups = nn.ModuleList(Up(self.first // 2**n, self.first // 2 ** (n + 1)) for n in range(doublings))
        self.img = conv3(self.first // 2**doublings, 3)

    def forward(self, z: Tensor, text: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both = self.ca(text)
        mu, logvar = both[:, : self.size], both[:, self.size :]
        c = mu + eps * torch.exp(logvar / 2)
        x = F.relu(self.bn(self.fc(torch.cat([z, c], 1)))).view(len(z), self.first, 4, 4)
        for up in self.ups:
            x = up(x)
        return torch.tanh(self.img(x)), mu, logvar


class Refiner(nn.Module):
    """Stage II: 16 pixels, two halvings, the condition, a residual block, four doublings to 64 pixels."""

    def __init__(self, width: int, size: int, text: int) -> None:
        super().__init__()
        w = width
        self.ca, self.size = nn.Linear(text, 2 * size), size
        self.c0, self.c1, self.b1 = conv3(3, w), nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * w)
        self.c2, self.b2 = nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * w)
        self.joint, self.bj = conv3(size + 4 * w, 4 * w), nn.BatchNorm2d(4 * w)
        self.r1, self.n1, self.r2, self.n2 = (
            conv3(4 * w, 4 * w), nn.BatchNorm2d(4 * w), conv3(4 * w, 4 * w), nn.BatchNorm2d(4 * w),
        )  # fmt: skip
        self.ups = nn.ModuleList(Up(4 * w // 2**n, 4 * w // 2 ** (n + 1)) for n in range(4))
        self.img = conv3(w // 4, 3)

    def forward(self, small: Tensor, text: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both = self.ca(text)
        mu, logvar = both[:, : self.size], both[:, self.size :]
        c = (mu + eps * torch.exp(logvar / 2)).view(-1, self.size, 1, 1)
        x = F.relu(self.c0(small))
        x = F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))))
        x = F.relu(self.bj(self.joint(torch.cat([x, c.repeat(1, 1, 4, 4)], 1))))
        x = F.relu(x + self.n2(self.r2(F.relu(self.n1(self.r1(x))))))
        for up in self.ups:
            x = up(x)
        return torch.tanh(self.img(x)), mu, logvar


class Critic(nn.Module):
    """Halvings to 4×4, where the condition joins: three of 32 pixels, four of 64; with a head without condition, if asked."""

    def __init__(self, width: int, size: int, halvings: int = 3, *, alone: bool = False) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(halvings)]
        last = widths[-1]
        self.first = nn.Conv2d(3, width, 4, 2, 1, bias=False)
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * w)) for w in widths[:-1]
        )
        self.joint, self.bj = conv3(last + size, last), nn.BatchNorm2d(last)
        self.out = nn.Conv2d(last, 1, 4)
        self.alone = nn.Conv2d(last, 1, 4) if alone else nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        for down in self.downs:
            x = F.leaky_relu(down(x), 0.2)
        return x

    def logits(self, features: Tensor, c: Tensor) -> Tensor:
        planes = c.view(*c.shape, 1, 1).repeat(1, 1, 4, 4)
        return self.out(F.leaky_relu(self.bj(self.joint(torch.cat([features, planes], 1))), 0.2)).view(-1)


def entropy(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, label))


class StackGAN:
    """Critic and encoder of texts first, then the generator, by the same images."""

    def __init__(self, g: Generator, d: Critic, t: Text) -> None:
        self.g, self.d, self.t = g, d, t
        self.of_d = torch.optim.Adam([*d.parameters(), *t.parameters()], lr=2e-4, betas=(0.5, 0.999))
        self.of_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, x: Tensor, tokens: Tensor, z: Tensor, eps: Tensor) -> dict[str, Tensor]:
        text = self.t(tokens)
        fake, mu, logvar = self.g(z, text.detach(), eps)
        weight, bias = self.g.ca.weight.detach()[: self.g.size], self.g.ca.bias.detach()[: self.g.size]
        right = F.linear(text, weight, bias)
        wrong = F.linear(self.t(torch.roll(tokens, -1, 0)), weight, bias)
        real, made = self.d.features(x), self.d.features(fake.detach())
        losses = {"d/adv": entropy(self.d.logits(real, right), 1)}
        wrong_loss = entropy(self.d.logits(real, wrong), 0)
        losses["d/adv"] = losses["d/adv"] + 0.5 * (wrong_loss + entropy(self.d.logits(made, mu.detach()), 0))
        self.of_d.zero_grad()
        losses["d/adv"].backward()
        self.of_d.step()
        losses["g/adv"] = entropy(self.d.logits(self.d.features(fake), mu.detach()), 1)
        losses["g/kl"] = 2 * (-0.5 * (1 + logvar - mu**2 - torch.exp(logvar))).mean()
        self.of_g.zero_grad()
        (losses["g/adv"] + losses["g/kl"]).backward()
        self.of_g.step()
        return {name: loss.detach() for name, loss in losses.items()}


class StageTwo:
    """Critic first, then the generator, on images of a stage I that learns no more, like the encoder of texts."""

    def __init__(self, first: Generator, t: Text, g: Refiner, d: Critic) -> None:
        self.first, self.t, self.g, self.d = first.eval(), t, g, d
        self.of_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.of_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, x: Tensor, tokens: Tensor, z: Tensor, first_eps: Tensor, eps: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            text = self.t(tokens)
            small = self.first(z, text, first_eps)[0]
        fake, mu, logvar = self.g(small, text, eps)
        condition = mu.detach()
        real, made = self.d.features(x), self.d.features(fake.detach())
        on_real = entropy(self.d.logits(real, condition), 1)
        on_wrong = entropy(self.d.logits(real, torch.roll(condition, -1, 0)), 0)
        on_fake = entropy(self.d.logits(made, condition), 0)
        alone_real, alone_fake = entropy(self.d.alone(real).view(-1), 1), entropy(self.d.alone(made).view(-1), 0)
        losses = {"d/adv": (on_real + alone_real) / 2 + (on_fake + on_wrong + alone_fake) / 3}
        self.of_d.zero_grad()
        losses["d/adv"].backward()
        self.of_d.step()
        features = self.d.features(fake)
        losses["g/adv"] = entropy(self.d.logits(features, condition), 1) + entropy(self.d.alone(features).view(-1), 1)
        losses["g/kl"] = 2 * (-0.5 * (1 + logvar - mu**2 - torch.exp(logvar))).mean()
        self.of_g.zero_grad()
        (losses["g/adv"] + losses["g/kl"]).backward()
        self.of_g.step()
        return {name: loss.detach() for name, loss in losses.items()}

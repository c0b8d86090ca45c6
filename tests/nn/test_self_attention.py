"""Self-attention: by the formula, place by place."""

import torch

from translate.nn.self_attention import SelfAttention


def plain_weight(conv):
    return (conv.weight / (conv.u @ conv.weight.flatten(1) @ conv.v))[:, :, 0, 0]


def test_it_is_the_formula_at_each_place():
    torch.manual_seed(0)
    layer, x = SelfAttention(16).double(), torch.randn(2, 16, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(x), x), "γ starts at 0"
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    query, key, value, out = map(plain_weight, (layer.query, layer.key, layer.value, layer.out))
    for n in range(2):

        def pooled(weight, n=n):
            mapped = torch.einsum("oc,chw->ohw", weight, x[n])
            return mapped.reshape(-1, 2, 2, 3, 2).amax((2, 4)).flatten(1)

        keys, values = pooled(key), pooled(value)
        for row, column in ((0, 0), (3, 5), (1, 4)):
            scores = torch.exp((query @ x[n, :, row, column]) @ keys)
            seen = values @ (scores / scores.sum())
            expected = x[n, :, row, column] + 0.7 * out @ seen
            torch.testing.assert_close(layer(x)[n, :, row, column], expected)

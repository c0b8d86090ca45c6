"""Diversity: how much the outputs of one input differ from each other, where a model has several."""

import numpy as np
import torch
from torch import Tensor


def mean_pairwise_distance(features: Tensor | np.ndarray) -> Tensor:
    """Return the mean Euclidean distance between the features of all pairs of outputs of each input: (N,) float64.

    features: (N, S, D), of S outputs of each of N inputs. 0 where all outputs are equal; higher is more diverse. Zhu et al.,
    "Toward Multimodal Image-to-Image Translation", 2017, sec. 5.2, with all pairs, and the features of one network as a whole
    instead of LPIPS. ValueError for fewer than two outputs or another shape.
    """
    x = torch.as_tensor(features).double()
    if x.ndim != 3 or x.shape[1] < 2:
        raise ValueError(f"diversity: features of shape {tuple(x.shape)}; expected (N, S, D) of at least two outputs")
    first, second = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    return (x[:, first] - x[:, second]).norm(dim=2).mean(1)

"""Tests of `translate.evaluation.label_scorers`."""

import pytest
import torch

from translate.errors import DataError
from translate.evaluation.label_scorers import (
    IGNORE_INDEX,
    LabelScorer,
    _confusion,
    classification_score,
    segmentation_score,
    train_classifier,
    train_segmenter,
)


def shapes(count, seed=0, side=24):
    """Red squares (1) and blue discs (2) on dark noise (0), and which of the two is larger: images, maps, classes."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 3, side, side), dtype=torch.uint8, generator=draw)
    maps = torch.zeros(count, side, side, dtype=torch.int64)
    classes = torch.randint(0, 2, (count,), generator=draw)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for image, labels, large in zip(images, maps, classes.tolist(), strict=True):
        across, along = torch.randint(6, side - 6, (2,), generator=draw).tolist()
        square = (rows < 3 + 5 * (1 - large)) & (columns < 3 + 5 * (1 - large))
        disc = (rows - across) ** 2 + (columns - along) ** 2 < (2 + 4 * large) ** 2
        for label, (shape, channel) in enumerate([(square, 0), (disc, 2)], 1):
            image[channel, shape] = 220
            labels[shape] = label
    return images, maps, classes


class Reader(torch.nn.Module):
    """Reads each pixel, or with `whole` each image, as the class that its red value names."""

    def __init__(self, classes, whole=False):
        super().__init__()
        self.classes, self.whole = classes, whole
        self.weight = torch.nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x):
        red = ((x[:, 0, 0, 0] if self.whole else x[:, 0]) * 127.5 + 127.5).round().long()
        return torch.nn.functional.one_hot(red, self.classes).movedim(-1, 1).float()


def read(*rows):
    """Return a scorer that reads red values, and an image with these rows of them."""
    red = torch.tensor(rows, dtype=torch.uint8)
    return LabelScorer(Reader(4), 4, ""), red[None, None].expand(1, 3, -1, -1)


def test_the_three_scores_by_hand():
    """Class 0: 2 of 3 right, union 3. Class 1: 1 of 2, union 3. Class 2: 1 of 1, union 1. Class 3 is read, but not there."""
    scorer, image = read([0, 0, 1], [1, 3, 2])
    labels = torch.tensor([[[0, 0, 0], [1, 1, 2]]])
    scores = {key: estimate.value for key, estimate in segmentation_score(scorer, image, labels).items()}
    assert scores["pixel_accuracy"] == pytest.approx(4 / 6)
    assert scores["class_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores["class_iou"] == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)


def test_ignored_pixels_are_not_scored():
    scorer, image = read([0, 1], [1, 1])
    labels = torch.tensor([[[0, IGNORE_INDEX], [IGNORE_INDEX, 1]]])
    assert {estimate.value for estimate in segmentation_score(scorer, image, labels).values()} == {1.0}


def test_rows_are_labels_and_columns_predictions():
    labels, seen = torch.tensor([[0, 0], [1, IGNORE_INDEX]]), torch.tensor([[0, 1], [1, 0]])
    assert _confusion(labels, seen, 2).tolist() == [1, 1, 0, 1]


def test_top_1_accuracy_by_hand():
    images = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    scorer = LabelScorer(Reader(4, whole=True), 4, "")
    estimate = classification_score(scorer, images, torch.tensor([0, 1, 3, 3]))["top1_accuracy"]
    assert estimate.value == 3 / 4
    assert estimate.error == pytest.approx((3 / 16 / 4) ** 0.5, rel=0.1)  # √(p (1 − p) / n)


@pytest.mark.slow
def test_a_segmenter_learns_shapes_and_notices_lost_ones():
    images, maps, _ = shapes(24)
    scorer = train_segmenter(images, maps, 3, steps=40)
    others, truth, _ = shapes(10, seed=1)
    good = segmentation_score(scorer, others, truth)
    assert good["pixel_accuracy"].value > 0.95
    assert good["class_iou"].value > 0.8
    swapped = segmentation_score(scorer, others.flip(1), truth)  # red for blue
    assert swapped["class_iou"].value < 0.5
    assert segmentation_score(scorer, others.flip(0), truth.flip(0)) == good


def test_a_classifier_learns_which_shape_is_larger():
    images, _, classes = shapes(32)
    scorer = train_classifier(images, classes, 2, steps=40)
    others, _, truth = shapes(20, seed=1)
    assert classification_score(scorer, others, truth)["top1_accuracy"].value >= 0.95
    assert classification_score(scorer, others, 1 - truth)["top1_accuracy"].value <= 0.05


@pytest.mark.parametrize(("train", "kind"), [(train_segmenter, 1), (train_classifier, 2)])
def test_a_scorer_is_identified_by_its_hash(train, kind):
    """Trained again, and on the same images in another order, it is the same; of other seeds, steps or labels it is not."""
    data = shapes(10)
    images, labels = data[0], data[kind]
    again = [train(x, y, 3, steps=3).sha256 for x, y in [(images, labels), (images.flip(0), labels.flip(0))]]
    assert again[0] == again[1]
    others = [
        train(images, labels, 3, seed=1, steps=3),
        train(images, labels, 3, steps=4),
        train(images, labels.flip(0), 3, steps=3),
    ]
    assert len({again[0], *(scorer.sha256 for scorer in others)}) == 4


def test_a_batch_gives_what_singles_give():
    images, maps, _ = shapes(6)
    scorer = train_segmenter(images, maps, 3, steps=3)
    whole = scorer.net(images / 127.5 - 1)
    torch.testing.assert_close(
        torch.cat([scorer.net(x[None] / 127.5 - 1) for x in images]), whole, rtol=1e-4, atol=1e-4
    )


def test_labels_that_do_not_fit_are_refused():
    images, maps, classes = shapes(4)
    with pytest.raises(DataError, match=r"labels of shape \(4, 24, 20\)"):
        train_segmenter(images, maps[..., :20], 3)
    with pytest.raises(DataError, match=r"classification: labels of shape \(3,\)"):
        train_classifier(images, classes[:3], 2)
    with pytest.raises(DataError, match="a label is 2; labels of 2 classes go from 0 to 1"):
        train_segmenter(images, maps, 2)
    with pytest.raises(DataError, match="a label is 255"):
        train_classifier(images, torch.full_like(classes, IGNORE_INDEX), 2)
    with pytest.raises(DataError, match="nothing to score"):
        train_segmenter(images, torch.full_like(maps, IGNORE_INDEX), 3)
    with pytest.raises(DataError, match="classification: 0 images"):
        train_classifier(images[:0], classes[:0], 2)
    scorer = train_classifier(images, classes, 2, steps=1)
    with pytest.raises(DataError, match="images of 1 channels; the scorer learned from 3"):
        classification_score(scorer, images[:, :1], classes)

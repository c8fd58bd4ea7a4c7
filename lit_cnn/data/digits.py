"""The handwritten digits that come with scikit-learn: no download is needed."""

import torch

from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.sharing import read_once
from lit_cnn.data.splits import TEST_SPLIT_SEED, ArrayImages, Split, Subset, stratified_split


class Digits(ImageDataModule):
    """1,797 grey images of 8×8 pixels in ten classes, read from the installed scikit-learn.

    Source: Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", its test part.

    A fifth of the images, stratified by class and the same in every run, is the test set. The files do not name the writers,
    so one writer can occur in several splits. Use the accuracy to compare runs, not as an estimate for new writers.

    Raises:
        ValueError: If ``data_dir`` is given.
    """

    name = "digits"
    source_without_files = "come with scikit-learn"
    class_names = tuple("0123456789")
    mirrors = False
    channels = 1
    native_size = 8
    mean = (0.3054,)
    std = (0.3760,)

    def read(self, split: Split) -> Subset | None:
        if split == "val":
            return None
        images, train, test = read_once("digits", _read)
        return Subset(images, train if split == "train" else test)


def _read() -> tuple[ArrayImages, torch.Tensor, torch.Tensor]:
    """All images, and which of them are for training and for the test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The 17 grey levels 0 to 16, scaled to 0 to 255.
    pixels = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    return ArrayImages(pixels, labels), *stratified_split(labels, 0.2, TEST_SPLIT_SEED)

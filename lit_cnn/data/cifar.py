"""CIFAR-10 and CIFAR-100."""

import re

from torchvision import datasets

from lit_cnn.data.download import DownloadedDataModule

# In the order of the labels, which is alphabetical.
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_CLASSES = tuple(re.findall(r"\w+", _NAMES))


class CIFAR10(DownloadedDataModule):
    """50,000 + 10,000 colour images of animals and vehicles, 32×32 pixels, ten classes.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    name = "cifar10"
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    channels = 3
    native_size = 32
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    folder = ""
    files = ("cifar-10-python.tar.gz (or, unpacked, cifar-10-batches-py)",)

    def torchvision_dataset(self, train: bool, download: bool) -> datasets.CIFAR10:
        return datasets.CIFAR10(self.data_dir, train=train, download=download)


class CIFAR100(DownloadedDataModule):
    """50,000 + 10,000 colour images, 32×32 pixels, a hundred classes.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    name = "cifar100"
    class_names = CIFAR100_CLASSES
    channels = 3
    native_size = 32
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
    folder = ""
    files = ("cifar-100-python.tar.gz (or, unpacked, cifar-100-python)",)

    def torchvision_dataset(self, train: bool, download: bool) -> datasets.CIFAR100:
        return datasets.CIFAR100(self.data_dir, train=train, download=download)

"""MNIST and Fashion-MNIST."""

from torchvision import datasets

from lit_cnn.data.download import DownloadedDataModule


class MNIST(DownloadedDataModule):
    """60,000 + 10,000 grey images of handwritten digits, 28×28 pixels, ten classes.

    Source: LeCun, Cortes and Burges 1998, yann.lecun.com/exdb/mnist.
    """

    name = "mnist"
    class_names = tuple("0123456789")
    mirrors = False
    channels = 1
    native_size = 28
    mean = (0.1307,)
    std = (0.3081,)
    folder = "MNIST/raw"
    files = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )

    def torchvision_dataset(self, train: bool, download: bool) -> datasets.MNIST:
        return datasets.MNIST(self.data_dir, train=train, download=download)


class FashionMNIST(DownloadedDataModule):
    """60,000 + 10,000 grey images of clothes, 28×28 pixels, ten classes.

    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    """

    name = "fashion_mnist"
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    channels = 1
    native_size = 28
    mean = (0.2860,)
    std = (0.3530,)
    folder = "FashionMNIST/raw"
    files = MNIST.files

    def torchvision_dataset(self, train: bool, download: bool) -> datasets.FashionMNIST:
        return datasets.FashionMNIST(self.data_dir, train=train, download=download)

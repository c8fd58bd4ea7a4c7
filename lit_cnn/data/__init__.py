"""Datasets of labelled images, one LightningDataModule each."""

from lit_cnn.data.cifar import CIFAR10, CIFAR100
from lit_cnn.data.digits import Digits
from lit_cnn.data.fake import FakeImages
from lit_cnn.data.folder import ImageFolder
from lit_cnn.data.mnist import MNIST, FashionMNIST
from lit_cnn.data.module import ImageDataModule

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "Digits", "FakeImages", "FashionMNIST", "ImageDataModule", "ImageFolder"]

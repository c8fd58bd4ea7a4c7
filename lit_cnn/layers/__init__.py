"""Blocks of the networks, and blocks for teaching. They need only torch."""

from lit_cnn.layers.batch_norm import BatchNorm1d, BatchNorm2d, batch_norm
from lit_cnn.layers.convolution import MLPConv, conv, local_response_norm
from lit_cnn.layers.dense import DenseBlock, DenseLayer, Transition
from lit_cnn.layers.dropout import Dropout, share_dropout
from lit_cnn.layers.inception import Inception
from lit_cnn.layers.init import GappedUniform, gaussian_, initialise, kaiming_
from lit_cnn.layers.linear import Linear, MultilayerPerceptron
from lit_cnn.layers.nested import nested
from lit_cnn.layers.parallel import Parallel
from lit_cnn.layers.residual import BasicBlock, Bottleneck, PreActBasicBlock, PreActBottleneck, Residual
from lit_cnn.layers.tied import shared_layers

__all__ = [
    "BasicBlock",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bottleneck",
    "DenseBlock",
    "DenseLayer",
    "Dropout",
    "GappedUniform",
    "Inception",
    "Linear",
    "MLPConv",
    "MultilayerPerceptron",
    "Parallel",
    "PreActBasicBlock",
    "PreActBottleneck",
    "Residual",
    "Transition",
    "batch_norm",
    "conv",
    "gaussian_",
    "initialise",
    "kaiming_",
    "local_response_norm",
    "nested",
    "share_dropout",
    "shared_layers",
]

"""Random changes of training images, drawn separately for each image, on the whole batch and on the device."""

from lit_cnn.data.augment.draws import NUM_DRAWS as NUM_DRAWS
from lit_cnn.data.augment.draws import as_bits as as_bits
from lit_cnn.data.augment.draws import shuffled as shuffled
from lit_cnn.data.augment.geometry import crop_and_flip as crop_and_flip
from lit_cnn.data.augment.pipeline import Augmentation as Augmentation
from lit_cnn.data.augment.settings import Augment as Augment
from lit_cnn.data.augment.settings import Crop as Crop
from lit_cnn.data.augment.settings import Preset as Preset

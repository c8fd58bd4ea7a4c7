"""What a folder and a table of images have in common: a manifest, splits by content."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from lit_cnn.data.augment import Augment, Preset
from lit_cnn.data.contents import Contents, Wanted, run_manifest
from lit_cnn.data.decoded_files import DecodedFiles
from lit_cnn.data.division import Drawing
from lit_cnn.data.earlier_reading import trained_reading
from lit_cnn.data.frame import choose_frame, side_of
from lit_cnn.data.listing import ListedImage, Listing
from lit_cnn.data.manifest import Manifest, beside
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.reading import Background, Reading, Resize
from lit_cnn.data.scan import LeftOut
from lit_cnn.data.splits import FRACTION, Split
from lit_cnn.system.paths import expand
from lit_cnn.system.processors import usable_processors


class ImageFiles(DecodedFiles):
    """Images in files, of a folder or a table.

    A missing validation or test set is drawn by the content of each image: adding, removing or renaming images moves no
    other image, and equal images are in the same set. A class of fewer than three different images stays in the training
    set, with a warning. Every run has the same test images; ``split_seed`` chooses the validation images. Training writes a
    manifest of all images. A checkpoint of that run brings its manifest with it: the run's own images stay in their splits,
    and images that came later are left out.

    Mean and standard deviation are measured on the training images and saved with the run.

    An image's shorter side is resized to ``image_size`` and the central square is used, in training and in prediction;
    ``resize`` chooses another way, and ``frame`` a larger square, whose centre is used. If ``image_size`` is not given, it
    is 224, and on the command line the size that the network was made for. Images are decoded once, into a file in
    ``cache_dir``. Later runs use that file again while the images are the same. See
    :class:`lit_cnn.data.reading.Reading` for what happens to transparent and deep images.

    The other arguments are those of :class:`lit_cnn.data.module.ImageDataModule`.

    Args:
        data_dir: Folder of the images.
        batch_size: Images in a training step, over all devices together.
        test_fraction: Share of the images that becomes the test set if there is none.
        group_by: Regular expression on the path of an image; its first group names what must not be divided between splits,
            for example a patient, a scene or a video.
        manifest: The ``data.json`` of an earlier run, whose images and splits are used.
        channels: 1 reads every image as grey, 3 as colour. If not given, 1 if all training images are grey, else 3.
        resize: ``crop`` takes the central square of an image, ``squash`` the whole image without its proportions, ``pad``
            the whole image with bars at its sides.
        frame: The images are stored so many times as large as the network sees them, from 1 to 2. It sees the centre, and
            training crops from all of it. If not given, 1.25 if training crops by area and ``resize`` is ``crop``, else 1.
        background: Colour behind transparent pixels, and of the bars.
        value_range: The two values that become black and white in deep images: of 16 or 32 bits, or of fractions. Others
            are clipped. If not given, the smallest full scale that holds all deep training images, for example 0 to 4095.
        augment: Random changes of training images: a preset, or :class:`lit_cnn.data.augment.Augment` with its parts.
        memory_gb: Memory that decoded images may take if there is no room in ``cache_dir``, in 10⁹ bytes for each process.
        cache_dir: Folder for decoded images, for unpacked archives, and for what is known of each file. None to save
            nothing: every start reads and decodes all files again, and each process unpacks an archive into a temporary
            folder of its own, which is removed when it ends.
        on_bad_image: What to do with a file that cannot be decoded: ``error`` names it and ends, ``skip`` leaves it out and
            warns. ``skip`` decodes every new file a second time.
        num_workers: Threads that prepare batches in advance; one for each processor if not given.

    Raises:
        ValueError: If an argument is out of its range, or the images do not give three splits with all classes.
    """

    native_size = 224
    crop = "area"

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 32,
        test_fraction: float = FRACTION,
        group_by: str | None = None,
        manifest: str | None = None,
        channels: Literal[1, 3] | None = None,
        resize: Resize = "crop",
        frame: float | None = None,
        background: Background = "white",
        value_range: tuple[float, float] | None = None,
        augment: Preset | Augment = "flip",
        memory_gb: float = 2.0,
        cache_dir: str | None = "~/.cache/lit_cnn",
        on_bad_image: Literal["error", "skip"] = "error",
        num_workers: int | None = None,
        **kwargs: Any,
    ) -> None:
        workers = usable_processors() if num_workers is None else num_workers
        super().__init__(data_dir, batch_size=batch_size, augment=augment, num_workers=workers, **kwargs)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
        self.hparams["frame"] = frame  # Lightning takes an argument of this name for its own
        self._set_frame(choose_frame(frame, self.image_size, self.augmentation.min_area < 1 and resize == "crop"))
        self.test_fraction = test_fraction
        self.group_by = group_by
        self.memory_gb = memory_gb
        self.cache_dir = expand(cache_dir) if cache_dir else None
        self.hparams["cache_dir"] = str(cache_dir) if cache_dir else None
        self.on_bad_image = on_bad_image
        self._channels = channels
        self._reading = Reading(self.native_size, channels or 3, resize, background, value_range)
        self._trained: Reading | None = None  # of a checkpoint that was loaded
        self._stays_with: Path | None = run_manifest.get()
        self._given: Manifest | None = None  # by the user
        if manifest is not None:
            self.hparams["manifest"] = str(manifest)
            # A run that began with it has its own copy.
            if self._stays_with is None or expand(manifest).is_file():
                self._given = Manifest.of_files(expand(manifest))
                self._check_split_arguments(self._given)
        self.left_out: Sequence[LeftOut] = ()  # known when the images are listed
        self._contents: Contents | None = None
        self._stage = "fit"  # of the last setup
        self.follow_run(self._stays_with)

    # What a subclass knows

    @abstractmethod
    def _list(self) -> Listing:
        """All images in order, with their classes; checks them."""

    @abstractmethod
    def _list_rest(self) -> list[ListedImage]:
        """The images of an earlier run that are there, and others, without a check."""

    # Which images

    def follow_run(self, manifest: Path | None) -> None:
        """Uses the images and the splits of a run. Images that came later are left out.

        Args:
            manifest: The ``data.json`` of the run; None to follow no run.

        Raises:
            ValueError: If it cannot be read, or it is not the manifest that this dataset was made with.
        """
        followed = None if manifest is None else Manifest.read(manifest) or Manifest.of_no_files(manifest)
        if followed and self._given and followed.contents() != self._given.contents():
            given = f"data.manifest={self.hparams['manifest']}"
            raise ValueError(f"the run of {manifest} has other images or splits than {given}: leave it out")
        if self._contents is not None and followed == self._followed and followed is not None:
            return
        self._followed = followed
        self._contents = None
        self._forget_pixels()

    @property
    def contents(self) -> Contents:
        """The images with their classes and splits."""
        if self._contents is None:
            fractions = self.test_fraction, self.val_fraction
            wanted = Wanted(
                self.name,
                self.data_dir,
                self.cache_dir,
                self.on_bad_image == "skip",
                self._channels,
                self.group_by,
                Drawing(*fractions, self.split_seed, self.num_folds, self.fold or 0),
                self._split_arguments(),
            )
            self._contents = Contents(wanted, self._list, self._list_rest, self._followed or self._given)
            if self._given and self._contents.is_other_data:
                raise ValueError(f"the images of data.manifest={self.hparams['manifest']} are not in {self.data_dir}")
        return self._contents

    def setup(self, stage: str) -> None:
        self._stage = stage
        if self._followed is not None and self._stays_with is None:
            self.follow_run(None)  # that of an earlier checkpoint
        super().setup(stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        checkpoint = self.trainer.ckpt_path if self.trainer is not None else None
        if checkpoint and (manifest := beside(checkpoint)):
            self.set_up_for_run(manifest)
        if "digest" not in state_dict and not self.is_pinned:
            raise ValueError(
                f"{checkpoint or 'the checkpoint'} was written by an earlier version, which drew the splits otherwise: "
                f"which images it was trained on is not known; train again"
            )
        self.see_as(self.image_size, state_dict.get("frame", 1.0))
        trained = trained_reading(self.reading.image_size, self.reading.channels, state_dict)
        self._reading.check_trained(trained, self._reading.value_range is None)
        is_new = self.reading != trained
        self._trained = trained
        if is_new:  # another dataset is tested, whose own range is another
            self._forget_pixels()
            super().setup(self.trainer.state.fn if self.trainer is not None else "fit")
        super().load_state_dict(state_dict)

    def _set_frame(self, frame: float) -> None:
        self.frame, self.native_size = frame, side_of(self.image_size, frame)

    def see_as(self, image_size: int, frame: float) -> None:
        if (image_size, frame) == (self.image_size, self.frame):
            return
        fits = self.trainer is not None and self.trainer.state.fn == "fit"
        if frame != self.frame and (fits or self.hparams["frame"] is not None):
            raise ValueError(
                f"the checkpoint was trained with data.frame={frame:g}, which it needs: set data.frame={frame:g}"
            )
        super().see_as(image_size, frame)
        self._set_frame(frame)
        self._reading = replace(self._reading, image_size=self.native_size)
        was_set_up = bool(self.splits)
        self._forget_pixels()
        if was_set_up:
            super().setup(self.trainer.state.fn if self.trainer is not None else "fit")

    def set_up_for_run(self, manifest: Path) -> None:
        """Follows the run of a checkpoint, which Lightning restores after it has set up the data."""
        followed = Manifest.read(manifest)
        if followed is not None and followed.entries != self.contents.manifest.entries:
            self.follow_run(manifest)
            super().setup(self.trainer.state.fn)

    def check_images(self, stage: str) -> None:
        if self.is_other_data and stage != "test":
            raise ValueError(f"{self.data_dir} holds other images than the run: they can test it, not {stage} it")
        self._usable(stage)

    def _usable(self, stage: str) -> Manifest:
        used: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "test": ("test",)}
        return self.contents.usable(*used.get(stage, ("val",)), may_skip=stage != "fit")

    def _check_split_arguments(self, manifest: Manifest) -> None:
        """Refuses arguments that draw splits, if the splits are those of a manifest."""
        defaults = {**signature(ImageDataModule.__init__).parameters, **signature(ImageFiles.__init__).parameters}
        for name in ("val_fraction", "test_fraction", "group_by", "num_folds", "fold", "split_seed"):
            value = self.hparams[name]
            if value != defaults[name].default and value != manifest.split.get(name):
                raise ValueError(f"the splits are those of the manifest: remove {name}={value}, or the manifest")

    @property
    def is_pinned(self) -> bool:
        return (self._followed or self._given) is not None and not self.is_other_data

    @property
    def is_other_data(self) -> bool:
        return self.contents.is_other_data

    @property
    def manifest(self) -> Manifest:
        """All images with their classes and splits; of a run also those that are not there any more."""
        return self.contents.manifest

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.contents.class_names

    @property
    def channels(self) -> int:  # type: ignore[override]
        return self._channels or self.manifest.channels

    @property
    def reading(self) -> Reading:
        """How a file becomes pixels. Once a checkpoint is loaded, as in its training, also if that had no range."""
        if self._trained is not None:
            return replace(self._trained, image_size=self.native_size, channels=self.channels)
        value_range = self._reading.value_range or self.manifest.value_range
        return replace(self._reading, channels=self.channels, value_range=value_range)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "reading": self.reading.options, "frame": self.frame}

    @property
    def digest(self) -> str:
        return self.manifest.digest("train", "val")

    @property
    def test_digest(self) -> str:
        return self.manifest.digest("test")

    @property
    def num_test_images(self) -> int:
        return len(self.manifest.of("test"))

    def counts(self) -> dict[Split, list[int]]:
        return self.manifest.counts()

    def write_manifest(self, path: Path) -> None:
        self.manifest.write(path)

    def _split_arguments(self) -> dict[str, Any]:
        return super()._split_arguments() | {"test_fraction": self.test_fraction, "group_by": self.group_by}

"""A table of images: paths with labels, and optionally splits and groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.listing import ListedImage, Listing, check_spelling
from lit_cnn.data.rows import as_path, read_table
from lit_cnn.data.splits import split_of_name
from lit_cnn.system.paths import expand


class ImageTable(ImageFiles):
    """Images that a table lists, one in each row.

    The table is a CSV file (UTF-8, with a header; also with semicolons or tabs) or a Parquet file. It has the columns:

    - ``path``: the image file, relative to ``data_dir``;
    - ``label``: name of its class;
    - ``split`` (optional): ``train``, ``val`` or ``test``. If the column has no ``val`` or no ``test``, these are drawn;
    - ``group`` (optional): images of one group are in the same split.

    All other arguments are those of :class:`lit_cnn.data.image_files.ImageFiles`.

    Args:
        table: The file.
        data_dir: Folder of the images; that of the table if not given.

    Raises:
        ValueError: If the table cannot be read, or a row is wrong; names the line.
    """

    def __init__(self, table: str, data_dir: str | None = None, **kwargs: Any) -> None:
        self.table = expand(table)
        super().__init__(str(self.table.parent) if data_dir is None else data_dir, **kwargs)
        self.hparams["table"], self.hparams["data_dir"] = str(table), data_dir
        self.name = self.table.stem

    def _list(self) -> Listing:
        rows = list(read_table(self.table, ("path", "label"), ("split", "group")))
        if self.group_by is not None and any("group" in row for _, row in rows):
            raise ValueError(f"{self.table} has a column group: remove group_by or the column")
        images = [self._listed_image(line, row) for line, row in rows]
        lines: dict[str, int] = {}
        for (line, _), image in zip(rows, images, strict=True):
            if lines.setdefault(image.path, line) != line:
                raise ValueError(f"{self.table}, line {line}: {image.path} is in line {lines[image.path]} already")
        given = {image.split for image in images}
        if None in given and len(given) > 1:
            line = next(line for (line, _), image in zip(rows, images, strict=True) if image.split is None)
            raise ValueError(f"{self.table}, line {line}: no split, although other lines have one; fill in all or none")
        if given != {None} and "train" not in given:
            raise ValueError(f"{self.table} has no line whose split is train")
        names = sorted({image.class_name for image in images})
        if len(names) < 2:
            raise ValueError(f"{self.table} has {len(names)} labels, but a classifier needs two")
        check_spelling(self.table, names)
        return Listing(images, frozenset(split for split in given if split))

    def _listed_image(self, line: int, row: dict[str, str]) -> ListedImage:
        place = f"{self.table}, line {line}"
        path = as_path(row["path"])
        for column in ("path", "label"):
            if not row[column]:
                raise ValueError(f"{place}: no {column}")
        for column in row.keys() - {"path"}:  # a name of a file may have any bytes
            if any("\udc80" <= character <= "\udcff" for character in row[column]):
                raise ValueError(f"{place}: the {column} is not in UTF-8; save the table as a CSV file in UTF-8")
        if Path(path).is_absolute():
            raise ValueError(f"{place}: {path} is absolute; paths are relative to {self.data_dir} (--data.data_dir)")
        if not (self.data_dir / path).is_file():
            raise ValueError(
                f"{place}: there is no file {self.data_dir / path}; paths are relative to {self.data_dir} (--data.data_dir)"
            )
        split = row.get("split") or None
        if split is not None and split_of_name(split) is None:
            raise ValueError(f"{place}: the split must be train, val or test, got {split!r}")
        return ListedImage(path, row["label"], split_of_name(split or ""), row.get("group") or None)

    def _list_rest(self) -> list[ListedImage]:
        images: dict[str, ListedImage] = {}
        for _, row in read_table(self.table, ("path", "label"), ("split",)):
            path = as_path(row["path"])
            if (self.data_dir / path).is_file():
                images[path] = ListedImage(path, row["label"], split_of_name(row.get("split", "")))
        return list(images.values())

"""Datasets of the Hub, or of a folder laid out as one, through the `datasets` library.

`datasets` keeps what it has downloaded as memory-mapped Arrow files, so rows stream from disk
in constant memory. Values that JSON lacks (bytes, dates, NaN) are written as text.

What this module does not know: columns, recipes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.digest import canonical
from cai.errors import SourceError
from cai.mistake import likeliest
from cai.source.parts import Part, file_stamp
from cai.source.rows import Record, Shape

if TYPE_CHECKING:
    import datasets

BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class HubSection:
    """Splits of a dataset; `folders` (data_dir) or `configs` are its subsets, both empty for the default.

    `repo` is a name on the Hub, or an absolute path of a folder laid out as a dataset.
    `splits`: empty for all there are.
    """

    repo: str
    revision: str | None
    folders: tuple[str, ...]
    configs: tuple[str, ...]
    splits: tuple[str, ...]
    shape: Shape
    limit: int | None

    @property
    def name(self) -> str:
        """The display name."""
        return Path(self.repo).name if Path(self.repo).is_absolute() else self.repo

    def parts(self) -> Iterator[Part]:
        """One part a subset and split, each loaded when it is reached.

        Raises: SourceError where the dataset or a split of it is not there, or cannot be fetched.
        """
        subsets: list[tuple[str, str | None, str | None]] = [
            *((folder, None, folder) for folder in dict.fromkeys(self.folders)),
            *((config, config, None) for config in dict.fromkeys(self.configs)),
        ]
        for subset, config, folder in subsets or [(Path(self.repo).name, None, None)]:
            known = self._splits(config, folder)
            for split in dict.fromkeys(self.splits or known):
                if split not in known:
                    raise SourceError(
                        f"{self.name} ({subset}) has no split {split!r}{likeliest(split, known)}; "
                        f"there: {', '.join(known)}.",
                        "Mend the recipe's `splits`.",
                    )
                yield DatasetPart(self._load(config, folder, split), self.name, subset, split, self.shape)

    def _splits(self, config: str | None, folder: str | None) -> list[str]:
        import datasets

        try:
            return list(
                datasets.get_dataset_split_names(self.repo, config, revision=self.revision, data_dir=folder)
            )
        except _load_errors() as failure:
            raise self._error(failure, config or folder) from failure

    def _load(self, config: str | None, folder: str | None, split: str) -> datasets.Dataset:
        import datasets

        try:
            return datasets.load_dataset(
                self.repo, config, split=split, revision=self.revision, data_dir=folder
            )
        except _load_errors() as failure:
            raise self._error(failure, config or folder) from failure

    def _error(self, failure: Exception, subset: str | None) -> SourceError:
        what = self.repo if subset is None else f"{self.repo} ({subset})"
        reason = (str(failure) or type(failure).__name__).splitlines()[0].rstrip(".")
        return SourceError(
            f"The dataset {what} cannot be loaded: {reason}.",
            "Check its name, revision and the connection (`hf auth login` for a gated one), "
            "or give `path` with a local copy.",
        )

    def fingerprint(self) -> list[Any]:
        """Repository, revision and subsets; of a local folder also its files' sizes and times."""
        said = [self.repo, self.revision, [*self.folders], [*self.configs], [*self.splits]]
        local = Path(self.repo)
        if not local.is_absolute():
            return said
        return said + [file_stamp(path) for path in sorted(local.rglob("*")) if path.is_file()]


def _load_errors() -> tuple[type[Exception], ...]:
    """Every class that loading a dataset fails with: files, names and data, and the HTTP library's own.

    The Hub's client lets the HTTP library's transport errors through (a connection that is reset
    has been seen to); their root is what its own HTTP error derives from, whichever library it uses.
    """
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, DatasetsError, *HfHubHTTPError.__bases__)


@dataclass(frozen=True, slots=True)
class DatasetPart:
    """One loaded split."""

    dataset: datasets.Dataset
    source: str
    subset: str
    split: str
    shape: Shape

    @property
    def place(self) -> str:
        """Repository, subset and split."""
        return f"{self.source} ({self.subset}, {self.split})"

    def records(self) -> Iterator[Record]:
        """All rows as records, numbered from 1."""
        return dataset_records(self.dataset)


def dataset_records(dataset: datasets.Dataset) -> Iterator[Record]:
    """The rows of a dataset as records, read in batches."""
    number = 0
    for table in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for value in table.to_pylist():
            number += 1
            try:
                body = canonical(value)
            except TypeError:
                value = _plain(value)
                body = canonical(value)
            yield Record(number, value, body, None)


def _plain(value: Any) -> Any:
    """A value as JSON: bytes in base64, what else JSON lacks as its text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and value - value == 0:  # finite
        return value
    return str(value)

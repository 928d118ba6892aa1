"""One column of a config: its name, its Arrow type, what it means; and what `datasets` is told of it.

Every file carries, under the schema key `huggingface`, the features as `datasets` writes them, so
that `load_dataset` opens a column of `names` as a ClassLabel. In the file such a column is a whole
number, the place of its name. Only a closed list is written so: what a recipe or the data name
(subsets, splits, judges, principles) stays text, since two datasets with other names could not be
joined, and so does everything in `traces`, which plain Arrow readers read.

What this module does not know: which configs there are.
Source: https://huggingface.co/docs/datasets/about_dataset_features (features, ClassLabel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

TEXT = pa.string()
TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class Column:
    """One column: its name, its Arrow type, what it means; `inside` are the columns of its structs.

    `names`: of a ClassLabel, in the order of their numbers. A record holds the name, a file the number.
    """

    name: str
    type: Any
    doc: str
    inside: tuple[Column, ...] = ()
    names: tuple[str, ...] = ()

    def stored(self, value: Any) -> Any:
        """A record's value as a file holds it. Raises: ValueError for a name that is not listed."""
        if not self.names or value is None:
            return value
        if value not in self.names:
            raise ValueError(f"{value!r} in {self.name}")
        return self.names.index(value)


def records(name: str, doc: str, *inside: Column) -> Column:
    """A list of structs."""
    fields = [pa.field(column.name, column.type) for column in inside]
    return Column(name, pa.list_(pa.struct(fields)), doc, inside)


def messages(name: str, doc: str) -> Column:
    """Turns, as TRL's conversational formats have them."""
    return records(
        name,
        doc,
        Column("role", TEXT, "system, user or assistant"),
        Column("content", TEXT, "what was said"),
    )


def label(name: str, names: tuple[str, ...], doc: str) -> Column:
    """One of a closed list of names."""
    return Column(name, pa.int64(), doc, names=names)


def arrow_schema(columns: tuple[Column, ...]) -> Any:
    """The Arrow schema of a config, with its features for `datasets`."""
    features = {column.name: _feature(column) for column in columns}
    told = orjson.dumps({"info": {"features": features}})
    return pa.schema([pa.field(column.name, column.type) for column in columns], {b"huggingface": told})


def _feature(column: Column) -> Any:
    """A column as `datasets` writes it. Lists in the form that every version of it reads."""
    if column.names:
        return {"names": list(column.names), "_type": "ClassLabel"}
    if column.inside:
        return [{inner.name: _feature(inner) for inner in column.inside}]
    if pa.types.is_list(column.type):
        return [_value(column.type.value_type)]
    return _value(column.type)


def _value(kind: Any) -> dict[str, str]:
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}

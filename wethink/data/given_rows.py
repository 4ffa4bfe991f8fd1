"""Rows that sources bring, put together as their images are read: a row is complete when all its images are."""

from dataclasses import dataclass, field, replace

from wethink.common.jsonl import Record, content_id
from wethink.data.image_readers import Found, GivenRow


@dataclass(frozen=True)
class _Shown:
    """An image of a row: its id, or the fault that made it none, and its name in the source."""

    image: str | None
    fault: str
    name: str


@dataclass
class GivenRows:
    """Given rows of all sources; `rows` holds the complete ones (docs/data.md: `given_rows.jsonl`)."""

    rows: list[Record] = field(default_factory=list)
    _open: dict[tuple[str, str, int], dict[int, _Shown]] = field(default_factory=dict)

    def add(self, found: Found, source: str, image: str | None, fault: str) -> None:
        """Take an image that was read, or could not be, into its rows.

        Args:
            found: the candidate; without `read` it is a row about no image.
            source: the source's name.
            image: its id, or None.
            fault: why it is none.
        """
        shown = _Shown(image, fault, found.names[0] if found.names else found.origin)
        for row in found.rows:
            if found.read is None:
                self._close(row, source, [], found.split)
                continue
            key = (source, row.table, row.number)
            parts = self._open.setdefault(key, {})
            parts[row.place] = shown
            if len(parts) == max(1, len(row.given.images)):
                self._close(row, source, [part for _, part in sorted(self._open.pop(key).items())], None)

    def _close(self, row: GivenRow, source: str, shown: list[_Shown], split: str | None) -> None:
        given, place = row.given, {"source": source, "table": row.table, "number": row.number}
        faults = [(number, part.fault) for number, part in enumerate(shown, 1) if part.image is None]
        if faults and not given.fault:
            number, fault = faults[0]
            given = replace(given, fault=f"its image cannot be used: {fault}")
            if len(shown) > 1:
                detail = f"image {number} of {len(shown)}, {shown[number - 1].name}"
                given = replace(given, fault=f"one of its images cannot be used: {fault}", detail=detail)
        if len(shown) == 1:
            images: Record = {"image": shown[0].image or ""}
        else:
            images = {"images": [part.image or "" for part in shown]}
        if not shown:
            images |= {"scene": content_id("text", given.question), "split": split}
        self.rows.append(given.record() | place | images | {"name": ", ".join(part.name for part in shown)})

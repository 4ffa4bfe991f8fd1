"""Rows in labelling tools: tasks for Label Studio, a dataset for FiftyOne, and the verdicts that come back.

Formats: Label Studio's JSON of tasks and of annotated tasks (https://labelstud.io/guide/task_format), FiftyOne's
`FiftyOneDataset` in its form without a version, which every release reads
(https://docs.voxel51.com/user_guide/import_datasets.html). Neither package is needed.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, write_json
from wethink.curation.verdicts import VERDICTS
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, read_rows, row_images
from wethink.data.stratified_sample import draw, stratum
from wethink.export.parquet import suffix

Tool = Literal["label-studio", "fiftyone"]
SHOWN = ("id", "problem", "answer", "refined_cot", "category", "source")
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <Header value="Question"/><Text name="problem" value="$problem"/>
  <Header value="Answer"/><Text name="answer" value="$answer"/>
  <Header value="Reasoning"/><Text name="refined_cot" value="$refined_cot"/>
  <Choices name="verdict" toName="image" choice="single" required="true">
    {"".join(f'<Choice value="{name}"/>' for name in VERDICTS)}
  </Choices>
  <TextArea name="correction" toName="image" rows="1" maxSubmissions="1" placeholder="the right answer, if corrected"/>
</View>
"""


def export_rows(tool: Tool, images: Path, valid: Path, out: Path, count: int | None, seed: int) -> dict[str, int]:
    """Write validated rows and their images for a labelling tool to `out`, which is replaced.

    Args:
        tool: the tool.
        images: the ingested images.
        valid: the output of validation.
        out: a folder.
        count: rows of a stratified sample; None: all.
        seed: of the sample.

    Returns:
        The number of `rows` and `images` written, and `left_out`: the rows about several images or none.

    Raises:
        UserError: there are no rows.
    """
    every = list(read_rows(valid / "rows.jsonl"))
    rows = [row for row in every if len(row_images(row)) == 1]  # both tools show one image
    left_out = len(every) - len(rows)
    rows = rows if count is None else draw(rows, count, seed)
    if not rows:
        raise UserError(f"{valid / 'rows.jsonl'} has no rows about one image to export, or --rows is below 1.")
    staged = out.with_name(f".{out.name}.publishing")
    shutil.rmtree(staged, ignore_errors=True)
    folder = staged / ("images" if tool == "label-studio" else "data")
    folder.mkdir(parents=True)
    stored, names = ImageSet(images), dict[str, str]()
    for row in rows:
        if row["image"] not in names:
            data = stored.bytes(row["image"])
            names[row["image"]] = f"{row['image']}.{suffix(data)}"
            (folder / names[row["image"]]).write_bytes(data)
    if tool == "label-studio":
        (staged / "config.xml").write_text(CONFIG, encoding="utf-8")
        write_json(staged / "tasks.json", [_task(row, f"{out.name}/images/{names[row['image']]}") for row in rows])
    else:
        write_json(staged / "metadata.json", {"info": {"made_by": "wethink"}, "media_type": "image"})
        write_json(staged / "samples.json", {"samples": [_sample(row, f"data/{names[row['image']]}") for row in rows]})
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(out)
    return {"rows": len(rows), "images": len(names), "left_out": left_out}


def import_verdicts(file: Path, out: Path) -> dict[str, int]:
    """Convert a tool's export to a file of verdicts, as `validate.verdicts` reads it.

    Args:
        file: Label Studio's export as JSON, FiftyOne's samples.json or the folder with it.
        out: the file to write.

    Returns:
        Counts: `read` tasks or samples, `open` ones without a verdict, and written verdicts by their name.

    Raises:
        UserError: the file is no such export, or nothing in it has a verdict.
    """
    file = file / "samples.json" if file.is_dir() else file
    given = read_json(file, "name Label Studio's export as JSON, or FiftyOne's samples.json")
    entries = given.get("samples") if isinstance(given, dict) else given
    read = _read_sample if isinstance(given, dict) else _read_task
    if not isinstance(entries, list):
        raise UserError(f"{file} is neither Label Studio's JSON (a list of tasks) nor FiftyOne's samples.json.")
    verdicts: list[Record] = []
    without = 0
    for number, entry in enumerate(entries, start=1):
        try:
            found = list(read(entry))
        except (AttributeError, KeyError, TypeError, IndexError):
            raise UserError(
                f"{file}, entry {number}: it is no row that `wethink export` wrote for this tool."
            ) from None
        wrong = next((one for one in found if one["verdict"] == "corrected" and not one["correction"]), None)
        if wrong:
            raise UserError(f"{file}, row {wrong['id']}: it is corrected, but nobody wrote the right answer.")
        verdicts += found
        without += not found
    if not verdicts:
        raise UserError(f"{file}: none of {len(entries)} entries has a verdict ({', '.join(VERDICTS)}).")
    write_json(out, {"rows": verdicts})
    return {"read": len(entries), "open": without, **Counter(one["verdict"] for one in verdicts)}


def _task(row: Row, path: str) -> Record:
    return {"data": {"image": f"/data/local-files/?d={path}", **_shown(row)}}


def _sample(row: Row, path: str) -> Record:
    shown = _shown(row)
    return {"filepath": path, "tags": [], "row": shown.pop("id"), "correction": "", **shown}


def _shown(row: Row) -> Record:
    return {key: row[key] for key in SHOWN} | {"stratum": stratum(row)}  # type: ignore[literal-required]


def _read_task(task: Record) -> Iterator[Record]:
    """Yield the verdict of each annotation of a task that was not skipped."""
    data = task["data"]
    for annotation in task.get("annotations", ()):
        values = {result["from_name"]: result["value"] for result in annotation["result"]}
        if not annotation.get("was_cancelled") and (chosen := values.get("verdict", {}).get("choices")):
            texts = values.get("correction", {}).get("text") or [""]
            yield _verdict(data["id"], data["answer"], data.get("stratum"), chosen[0], texts)


def _read_sample(sample: Record) -> Iterator[Record]:
    """Yield a verdict for each tag of a sample that is one."""
    name, answer = sample["row"], sample["answer"]
    for tag in sample["tags"]:
        if tag in VERDICTS:
            yield _verdict(name, answer, sample.get("stratum"), tag, sample.get("correction"))


def _verdict(name: Any, answer: Any, group: Any, verdict: str, correction: str | Sequence[str] | None) -> Record:
    text = correction if isinstance(correction, str) else (list(correction or [""])[-1])
    if not isinstance(name, str) or not isinstance(answer, str) or verdict not in VERDICTS:
        raise TypeError
    kept = text.strip() if verdict == "corrected" else ""
    return {"id": name, "stratum": group, "answer": answer, "verdict": verdict, "correction": kept}

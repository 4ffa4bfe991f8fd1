"""VLMEvalKit's verdicts on predictions. Run in .venv-vlmeval: `verdicts.py IN.json OUT.json URL|-`.

IN: family → rows (table cells and a prediction). OUT: family → setting (`no judge`, and `judge` if a URL is given) →
index → [hit (1 or 0), the kit's log of the verdict].
"""

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from vlmeval.dataset import build_judge
from vlmeval.dataset.image_vqa import ImageVQADataset, OCRBench
from vlmeval.dataset.image_yorn import ImageYORNDataset
from vlmeval.dataset.utils.multiple_choice import mcq_circular_eval, mcq_vanilla_eval
from vlmeval.dataset.utils.yorn import YOrN_auxeval, YOrN_Extraction
from vlmeval.dataset.videommmu import eval_open, parse_open_response

os.environ["PRED_FORMAT"] = "tsv"

JUDGED = 240  # rows of a family that the judge scores too; the same as in agreement.py


def frame(rows: list[dict[str, str]], folder: Path) -> pd.DataFrame:
    """Read rows as the kit reads tables: pandas parses `None` and `N/A` as empty."""
    path = folder / "table.tsv"
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    data = pd.read_csv(path, sep="\t")
    data["prediction"] = [row["prediction"] for row in rows]  # the kit does not read predictions from a table
    data["answer"] = [row["answer"] for row in rows]
    return data


def choice(rows: list[dict[str, str]], name: str, judge: object, folder: Path) -> dict[str, list[object]]:
    data = frame(rows, folder)
    evaluate = mcq_circular_eval if "circular" in name else mcq_vanilla_eval
    data["index"] = [int(index) for index in data["index"]]
    meta = data[["index", "question", "answer"]].copy()
    result = folder / f"{name}.pkl"
    found = evaluate(judge, data.copy(), meta, 16, str(result), name)
    return {
        str(i): [int(hit), str(log)] for i, hit, log in zip(found["index"], found["hit"], found["log"], strict=True)
    }


def yes_no(rows: list[dict[str, str]], judge: object) -> dict[str, list[object]]:
    def verdict(row: dict[str, str]) -> list[object]:
        said = YOrN_Extraction(row["prediction"])
        asked = said == "Unknown" and judge is not None
        if asked:
            said = YOrN_auxeval(judge, row)
        return [int(said == row["answer"]), "judge" if asked else ""]

    with ThreadPoolExecutor(16) as pool:
        return dict(zip([row["index"] for row in rows], pool.map(verdict, rows), strict=True))


def ocr(rows: list[dict[str, str]], folder: Path) -> dict[str, list[object]]:
    """Score items one at a time, since the kit's function returns only sums."""
    found = {}
    path = folder / "ocr.pkl"
    for row in rows:
        pd.DataFrame([row]).to_pickle(path)
        found[row["index"]] = [int(OCRBench.evaluate(str(path))["Final Score"]), ""]
    return found


def mmmu_open(rows: list[dict[str, str]]) -> list[int]:
    """Score open answers as MMMU's evaluator does, with the parts of it that the kit carries for Video-MMMU."""
    return [int(eval_open(row["answer"], parse_open_response(row["prediction"]))) for row in rows]


def aggregate(name: str, rows: list[dict[str, str]], folder: Path) -> dict[str, float]:
    """Return the overall figures of VLMEvalKit's dataset of this name."""
    yes_no_names = ("POPE", "MME", "AMBER", "VSR-zeroshot", "HallusionBench")
    dataset = object.__new__(ImageYORNDataset if name in yes_no_names else ImageVQADataset)
    dataset.dataset_name = name
    path = folder / f"scripted_{name}.pkl"
    pd.DataFrame(rows).to_pickle(path)
    found = dataset.evaluate(str(path), model="exact_matching")
    return {key: float(found[key].iloc[0]) for key in found if key != "split"}


def main() -> None:
    source, target, url = sys.argv[1:4]
    given = json.loads(Path(source).read_text(encoding="utf-8"))
    families = given["families"]
    judge = None if url == "-" else build_judge(model="scripted", api_base=url, key="none", retry=1, verbose=False)
    found: dict[str, dict[str, object]] = {}
    for family, rows in families.items():
        for setting, model in (("no judge", None), ("judge", judge)):
            if setting == "judge" and (judge is None or family == "ocr"):
                continue
            if setting == "judge":  # the kit sleeps half a second before every call
                rows = rows[:JUDGED]
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if family == "yes_no":
                    result = yes_no(rows, model)
                elif family == "ocr":
                    result = ocr(rows, folder)
                else:
                    kit_name = {"choice": "Custom", "circular": "Custom_circular", "open": "MMMU_DEV_VAL"}[family]
                    result = choice(rows, kit_name, model, folder)
            found.setdefault(family, {})[setting] = result
    with tempfile.TemporaryDirectory() as name:
        tables = {table: aggregate(table, rows, Path(name)) for table, rows in given["tables"].items()}
    result = {"families": found, "tables": tables, "mmmu_open": mmmu_open(given["mmmu_open"])}
    Path(target).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()

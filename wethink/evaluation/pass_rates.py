"""Pass rates of a policy on the training rows, for curation by difficulty.

Command `python -m wethink passrates`. k responses are sampled per question and scored as in GRPO. Unknown verdicts are
not counted: a row that cannot be scored is written with no samples, and curation leaves it alone.
"""

from pathlib import Path

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, write_jsonl
from wethink.common.progress import track
from wethink.config.params import Params
from wethink.data.image_store import ImageSet
from wethink.data.schema import read_rows, row_images
from wethink.rewards.hybrid import Scorer


def passrates(
    model: Path, images: Path, rows: Path, out: Path, samples: int, params: Params, scorer: Scorer
) -> dict[str, int]:
    """Write `id, passes, samples` of every training row to `out`.

    Returns the numbers of rows and of rows that always or never pass.

    Raises:
        UserError: there is no training row, `samples` is below 1, or no response could be judged.
    """
    from wethink.generation.responses import Asked, Decoding
    from wethink.generation.sampler import answers, published

    chosen = [row for row in read_rows(rows) if row["split"] == "train"]
    if not chosen or samples < 1:
        raise UserError(f"{rows} has {len(chosen)} training rows and --samples is {samples}; both must be at least 1.")
    grpo, stored, found = params.grpo, ImageSet(images), list[Record]()
    decoding = Decoding(grpo.max_completion_length, grpo.temperature, params.seed, samples)
    batch, most = max(1, params.evaluate.batch_size // samples), max(len(row_images(row)) for row in chosen)
    with published(model, grpo.sampler, params.launch, most, batch) as sampler:
        asked = [Asked(row["problem"], row_images(row), row["id"]) for row in chosen]
        groups = answers(sampler, asked, stored, decoding)
        for start in track(range(0, len(chosen), batch), "passrates", -(-len(chosen) // batch)):
            part = chosen[start : start + batch]
            pairs = [(response.text, row) for row in part for response in next(groups)]
            verdicts = [scored.verdict.outcome for scored in scorer.score(pairs)]
            for place, row in enumerate(part):
                known = [verdict for verdict in verdicts[place * samples :][:samples] if verdict != "unknown"]
                found.append({"id": row["id"], "passes": known.count("correct"), "samples": len(known)})
    if not any(record["samples"] for record in found):
        raise UserError(
            f"none of the responses to {len(found)} rows could be judged; mend the judge or the rewards section of "
            "params.yaml. Nothing is written."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(out, found)
    return {
        "rows": len(found),
        "always": sum(0 < record["passes"] == record["samples"] for record in found),
        "never": sum(record["passes"] == 0 < record["samples"] for record in found),
    }

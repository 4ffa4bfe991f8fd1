"""Compatibility check of dataset exports with LLaMA-Factory's, verl's and TRL's dataset code.

    python benchmarks/interop/load_exports.py llamafactory|verl|trl FOLDER

FOLDER is the output of `python -m wethink export sharegpt|verl|trl`. Prints the first row as the library reads it and
the number of rows; fails if there are none. Run it by hand where the library is installed; its dependencies are not
needed (`pip install --no-deps --target DIR`, then PYTHONPATH=DIR), because only its dataset code is used.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def llamafactory(folder: Path) -> int:
    """Parse dataset_info.json and convert its ShareGPT file; return the row count."""
    from datasets import load_dataset
    from llamafactory.data.converter import align_dataset
    from llamafactory.data.parser import get_dataset_list

    [attributes] = get_dataset_list(["wethink_sft"], str(folder))
    given = load_dataset("json", data_files=str(folder / attributes.dataset_name))["train"]
    arguments = SimpleNamespace(
        media_dir=str(folder),
        streaming=False,
        preprocessing_num_workers=1,
        overwrite_cache=True,
        data_shared_file_system=False,
    )
    aligned = align_dataset(given, attributes, arguments, SimpleNamespace(local_process_index=0))
    first = aligned[0]
    assert [message["role"] for message in first["_prompt"] + first["_response"]] == ["user", "assistant"]
    assert first["_prompt"][0]["content"].count("<image>") == len(first["_images"]) == 1
    assert all(Path(row["_images"][0]).is_file() and row["_response"] for row in aligned)
    print(first)
    return len(aligned)


def verl(folder: Path) -> int:
    """Read the Parquet file and its images with RLHFDataset; return the row count."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    config = OmegaConf.create({"cache_dir": str(folder / "cache"), "filter_overlong_prompts": False})
    processor: Any = SimpleNamespace(image_processor=SimpleNamespace(patch_size=14))
    dataset = RLHFDataset(str(folder / "train.parquet"), tokenizer=None, config=config, processor=processor)
    for place in range(len(dataset)):
        row = dataset[place]
        kinds = [part["type"] for message in row["raw_prompt"] for part in message["content"] if isinstance(part, dict)]
        assert kinds.count("image") == 1 and row["index"] == place and row["reward_model"]["ground_truth"]
    print(dataset[0])
    return len(dataset)


def trl(folder: Path) -> int:
    """Check TRL's conversational format and image placement; return the row count."""
    from datasets import load_dataset
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    files = [str(folder / f"{name}.parquet") for name in ("grpo", "sft")]
    read = [load_dataset("parquet", data_files=file)["train"] for file in files]
    for split in read:
        for row in split:
            assert is_conversational(row)
            messages = prepare_multimodal_messages(row["prompt"] + row.get("completion", []), images=row["images"])
            parts = [part for message in messages for part in message["content"]]
            assert [part["type"] for part in parts].count("image") == 1
            assert next(part for part in parts if part["type"] == "image")["image"].size == row["images"][0].size
    print(messages)
    return sum(map(len, read))


if __name__ == "__main__":
    name, target = sys.argv[1], Path(sys.argv[2])
    count = {"llamafactory": llamafactory, "verl": verl, "trl": trl}[name](target)
    assert count > 0
    print(f"{name}: {count} rows read by its own dataset code")

"""A mistake in params.yaml is one sentence that names the key; profiles say only their difference."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from safetensors import SafetensorError

from tasks import ROOT
from wethink.cli import main
from wethink.common.errors import DISK_FULL, UserError
from wethink.config import profiles
from wethink.config.params import load_params, load_yaml, parse_params
from wethink.dag import runner
from wethink.training.launch import launch_ranks

TINY = ROOT / "profiles" / "tiny.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the profiles and the tiny profile's params.yaml, entered."""
    monkeypatch.chdir(tmp_path)
    Path("profiles").mkdir()
    for path in (ROOT / "profiles").glob("*.yaml"):
        Path("profiles", path.name).write_bytes(path.read_bytes())
    Path("params.yaml").write_bytes(TINY.read_bytes())
    return tmp_path


def run_module(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, env=environment)


def wethink(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_module("wethink", *arguments)


KEY = "sk-123456789"
MISTAKES: dict[str, Callable[[Any], object]] = {
    "unknown key 'grpo.temprature'. Did you mean 'temperature'?": lambda p: p["grpo"].update(
        temprature=p["grpo"].pop("temperature")
    ),
    "unknown key 'sead'. Did you mean 'seed'?": lambda p: p.update(sead=0),
    "unknown key 'launch.endpoints.vision.api_key'": lambda p: p["launch"]["endpoints"]["vision"].update(api_key=KEY),
    "unknown key 'launch.endpoints.vision.concurency'. Did you mean 'concurrency'?": lambda p: p["launch"]["endpoints"][
        "vision"
    ].update(concurency=2),
    "key 'launch.endpoints.vision.url': must be http": lambda p: p["launch"]["endpoints"]["vision"].update(
        url=f"http://{KEY}@127.0.0.1/v1"
    ),
    "key 'launch.endpoints.vision.key_env': ": lambda p: p["launch"]["endpoints"]["vision"].update(key_env=[KEY]),
    "key 'grpo.num_generations'": lambda p: p["grpo"].update(num_generations="8"),
    "key 'grpo.num_generations': input should be greater than or equal to 2": lambda p: p["grpo"].update(
        num_generations=1
    ),
    "key 'grpo.group' is called 'num_generations' now": lambda p: p["grpo"].update(group=8),
    "key 'sft.optim.steps' is called 'max_steps' now": lambda p: p["sft"]["optim"].update(steps=9),
    "key 'base.tiny.hidden' is called 'hidden_size' now": lambda p: p["base"]["tiny"].update(hidden=64),
    "key 'evaluate.batch' is called 'batch_size' now": lambda p: p["evaluate"].update(batch=64),
    "key 'retrain.second_look' is called 'label_check' now": lambda p: p["retrain"].update(second_look={"rows": 9}),
    "key 'base.optim.lr'": lambda p: p["base"]["optim"].update(lr="fast"),
    "key 'seed' is missing": lambda p: p.pop("seed"),
    "must sum to 1": lambda p: p["rewards"].update(accuracy_weight=0.9),
    "'rows' names a file, which is read only where": lambda p: p["synthesize"].update(rows="mine.jsonl"),
    "'path' is required, except for kind drawn": lambda p: p["ingest"]["sources"][0].update(kind="folder"),
}


def assert_one_sentence(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, "a traceback, or more than a sentence"
    assert KEY not in done.stderr, "what stands at an endpoint may be a key"


@pytest.mark.parametrize("sentence", MISTAKES)
def test_a_mistake_in_the_parameters_is_one_sentence_and_exit_code_2(folder: Path, sentence: str) -> None:
    params = load_yaml(TINY)
    MISTAKES[sentence](params)
    Path("params.yaml").write_text(json.dumps(params), encoding="utf-8")  # JSON is YAML
    assert_one_sentence(wethink("report"), sentence)


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "'multi_objective_aggregation: normalize_then_sum' changes nothing with 'scale_rewards: none'": {
        "multi_objective_aggregation": "normalize_then_sum",
        "scale_rewards": "none",
    },
    "'importance_sampling_level: none' needs 'steps_per_generation: 1'": {
        "importance_sampling_level": "none",
        "steps_per_generation": 2,
    },
    "'use_bias_correction_kl' needs 'kl_coef' above 0": {"kl_coef": 0.0, "use_bias_correction_kl": True},
    "'use_bias_correction_kl' needs an 'importance_sampling_level'": {
        "use_bias_correction_kl": True,
        "importance_sampling_level": "none",
    },
    "'kl_estimator: k1' needs 'use_bias_correction_kl'": {"kl_estimator": "k1"},
    "'clip_ratio_c' must be 0 or above 1 + 'clip_ratio_high'": {"clip_ratio_c": 1.2},
    "'overlong_buffer_len' must be below 'max_completion_length'": {"overlong_buffer_len": 48},
    "'steps_per_generation' must not exceed 'optim.train_batch_size'": {"steps_per_generation": 33},
    "'floor' must be at most 1 and 'cap' at least 1": {
        "rollout_correction": {"mode": "mask", "level": "token", "floor": 0.0, "cap": 0.5}
    },
    "'patience' needs 'every' above 0": {"probe": {"every": 0, "images": 64, "patience": 2}},
}


@pytest.mark.parametrize("sentence", IMPOSSIBLE)
def test_an_objective_that_is_impossible_is_refused_by_the_names_of_both_keys(sentence: str) -> None:
    params = load_yaml(TINY)
    params["grpo"] |= IMPOSSIBLE[sentence]
    with pytest.raises(UserError, match=re.escape(sentence)) as refused:
        parse_params(params, "params.yaml")
    assert len(str(refused.value)) < 250, "a whole section in a sentence"


@pytest.mark.parametrize(
    ("optim", "sentence"),
    [
        (
            {"lora": {"rank": 4, "alpha": 8}, "frozen_parameters": ["visual"]},
            "'lora' and 'frozen_parameters' exclude each other",
        ),
        ({"lora": {"rank": 4, "alpha": 8}, "muon_lr": 0.01}, "'lora' and 'muon_lr' exclude each other"),
    ],
)
def test_an_optimizer_that_is_impossible_is_refused_by_the_names_of_both_keys(optim: Any, sentence: str) -> None:
    params = load_yaml(TINY)
    params["grpo"]["optim"] |= optim
    with pytest.raises(UserError, match=sentence):
        parse_params(params, "params.yaml")


@pytest.mark.parametrize("text", ["profile: [", "- profile", "", "grpo: {group: 8, group: 9}"])
def test_a_file_that_is_no_mapping_is_one_sentence_too(folder: Path, text: str) -> None:
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert_one_sentence(wethink("report"), "params.yaml")


def test_a_missing_parameter_file_and_a_missing_input_say_what_to_do(folder: Path) -> None:
    done = wethink("sft")
    assert done.returncode == 2
    assert "data/images is missing: run `dvc repro ingest`" in done.stderr
    Path("params.yaml").unlink()
    done = wethink("sft")
    assert done.returncode == 2
    assert "params.yaml does not exist; run from the project's root folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "code"), [(["draw"], 2), (["rank", "sft", "--scratch", "s"], DISK_FULL)])
def test_a_full_disk_is_one_sentence_with_the_file(
    command: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "die_with_owners", lambda: None)
    monkeypatch.setattr(sys, "argv", ["wethink", *command])
    python = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/drawn/scenes.parquet")
    rust = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    for error, place in ((python, "data/drawn/scenes.parquet"), (rust, "the project folder")):
        monkeypatch.setattr(main, "dispatch", Mock(side_effect=error))
        assert main.main() == code
        sentence = f"the disk is full ({place}); free some space, the same command goes on."
        assert capsys.readouterr().err == f"wethink {command[0]}: {sentence}\n"


def rank_that(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put `does` in the place of `python -m wethink rank`, and leave all other modules as they are."""
    (folder / "wethink").mkdir()
    (folder / "wethink/__main__.py").write_text(does)
    (folder / "wethink/__init__.py").write_text(f"__path__ += [{str(ROOT / 'wethink')!r}]")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_rank_that_finds_the_disk_full_reaches_the_user_through_the_launcher(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_that(folder, monkeypatch, f"raise SystemExit({DISK_FULL})")  # what a rank does that may write nothing
    launch = load_params().launch
    with pytest.raises(UserError, match="the disk is full; free some space"):
        launch_ranks("sft", folder, launch)


def test_what_a_rank_says_and_its_exit_code_reach_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"message": "the judge is down.", "exit_code": 75}
    tell = f"import json, pathlib; pathlib.Path('failure.json').write_text(json.dumps({told})); raise SystemExit(75)"
    rank_that(folder, monkeypatch, tell)
    with pytest.raises(UserError, match="the judge is down") as raised:
        launch_ranks("sft", folder, load_params().launch)
    assert raised.value.exit_code == 75


@pytest.mark.parametrize("terminated", [False, True])
def test_a_rank_whose_peer_is_gone_says_so_and_does_not_pass_for_the_cause(
    folder: Path, monkeypatch: pytest.MonkeyPatch, terminated: bool
) -> None:
    """Also where the launcher has sent it SIGTERM since the peer is gone."""
    monkeypatch.setattr("wethink.common.processes._terminated", terminated)

    def train(**_: object) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:10678.")

    monkeypatch.setattr(runner, "PEER_FAILURE_GRACE_S", 0.0)
    monkeypatch.setattr(runner, "arguments", lambda stage, params: {})
    monkeypatch.setattr("wethink.training.sft.sft", train)
    with pytest.raises(UserError, match="another rank has ended") as raised:
        runner.run_rank("sft", folder, load_params())
    assert raised.value.exit_code == 75
    assert not (folder / "failure.json").exists()


def test_the_flow_tells_a_mistake_before_it_starts_any_service(folder: Path) -> None:
    Path("params.yaml").write_text("seed: 0\n")
    done = run_module("flows.pipeline")
    assert done.returncode == 2
    assert "params.yaml: key 'profile' is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(".prefect").exists()


def test_every_profile_is_valid_and_states_only_its_difference(folder: Path) -> None:
    whole = load_yaml(TINY)
    for path in sorted(Path("profiles").glob("*.yaml")):
        profiles.switch([path.stem])
        params = load_params()
        assert params.profile == path.stem
        if path.stem != "tiny":
            same = repeated(load_yaml(path), whole)
            assert len(same) <= 8, f"{path}: says again what tiny says: {same}"


def test_switching_back_to_tiny_restores_the_committed_file(folder: Path) -> None:
    profiles.switch(["smoke"])
    assert Path("params.yaml").read_bytes() != TINY.read_bytes()
    profiles.switch(["tiny"])
    assert Path("params.yaml").read_bytes() == TINY.read_bytes()


def test_an_overlay_keeps_the_comments_of_what_it_leaves_alone(folder: Path) -> None:
    profiles.switch(["smoke"])
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "# DAPO" in text
    assert "launch: # where it runs" in text
    assert re.search(r"path_share: 0\.5\n", text), "the remark beside a changed value spoke of the old one"
    assert load_params().grpo.optim.lr == load_yaml(TINY)["grpo"]["optim"]["lr"]


def test_later_overlays_win(folder: Path) -> None:
    Path("profiles/mine.yaml").write_text("profile: mine\ngrpo: {num_generations: 6}\n")
    profiles.switch(["smoke", "mine"])
    params = load_params()
    assert (params.profile, params.grpo.num_generations, params.launch.processes) == ("mine", 6, 1)


def test_a_switch_that_leaves_out_the_users_sources_names_them(folder: Path, capsys) -> None:
    text = TINY.read_text(encoding="utf-8")
    drawn = "    - {name: digits, kind: drawn}\n"
    Path("params.yaml").write_text(text.replace(drawn, drawn + "    - {name: mine, kind: folder, path: photos}\n"))
    profiles.switch(["smoke"])
    assert "none of these sources of yours: mine. Copy them from params.yaml.before" in capsys.readouterr().err
    profiles.switch(["tiny"])
    assert "sources of yours" not in capsys.readouterr().err


def test_an_unknown_or_wrong_profile_says_so_and_changes_nothing(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no profile 'samll'.*qwen2_5_vl_7b, .*smoke, tiny"):
        profiles.switch(["samll"])
    Path("profiles/mine.yaml").write_text("grpo: {gruop: 6}\n")
    with pytest.raises(UserError, match=r"profile mine: unknown key 'grpo.gruop'"):
        profiles.switch(["mine"])
    assert Path("params.yaml").read_bytes() == TINY.read_bytes()
    assert not list(Path().glob(".params*"))


def test_the_committed_parameters_are_a_valid_profile() -> None:
    parse_params(load_yaml(ROOT / "params.yaml"), "params.yaml")


def test_the_lock_satisfies_the_declared_ranges() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = {plain(name): Version(version) for name, _, version in (line.partition("==") for line in lines) if version}
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        assert plain(wanted.name) in pinned, f"{line} is declared but not locked"
        assert pinned[plain(wanted.name)] in wanted.specifier, line


def test_the_lock_is_complete_and_without_conflict() -> None:
    """It is installed with --no-deps, so nothing else would notice."""
    import subprocess
    import sys

    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def repeated(overlay: dict[str, object], whole: dict[str, object], prefix: str = "") -> list[str]:
    """Keys at which an overlay has the very value that it is laid over."""
    found = []
    for key, value in overlay.items():
        below = whole.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            found += repeated(value, below, f"{prefix}{key}.")
        elif value == below:
            found.append(f"{prefix}{key}")
    return found

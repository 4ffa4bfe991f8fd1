"""Ranks that meet: none goes on, or leaves, before all have joined."""

import os
import subprocess
import sys
from pathlib import Path

from tasks import ROOT
from wethink.training.launch import MEETING

RANK = """
import os, sys, time
from pathlib import Path
import torch.distributed
from wethink.config.params import load_params
from wethink.training.ranks import join

late = os.environ["RANK"] == "0"
init = torch.distributed.init_process_group
def slow(*args, **kwargs):
    init(*args, **kwargs)
    if late:
        time.sleep(4)
        open(os.environ["JOINED"], "w").close()
torch.distributed.init_process_group = slow
join(load_params(Path(sys.argv[1])).launch)
assert os.path.exists(os.environ["JOINED"]), "this rank went on before the other had joined"
"""


def test_no_rank_leaves_before_the_others_have_joined(tmp_path: Path) -> None:
    """A rank with nothing to do (SFT without any path) left at once, and the other could not connect to it."""
    about = {"WORLD_SIZE": "2", MEETING: str(tmp_path / "meeting"), "JOINED": str(tmp_path / "joined")}
    about |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    command = [sys.executable, "-c", RANK, str(ROOT / "profiles/tiny.yaml")]
    ranks = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | about | {"RANK": n, "LOCAL_RANK": n}, stderr=subprocess.PIPE, text=True
        )
        for n in "01"
    ]
    found = [(rank.communicate(timeout=300)[1], rank.returncode) for rank in ranks]
    assert [code for _, code in found] == [0, 0], found

"""Scripts that torchrun starts twice: what only two processes can show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def in_two_processes(script: Path) -> str:
    """What both print. A script lets them meet before either leaves."""
    call = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*call, str(script)], capture_output=True, text=True, timeout=100, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

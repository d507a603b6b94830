"""Run every script of experiments/ that is not finished; each goes on where it was."""

from __future__ import annotations

import subprocess
import sys

from common import ROOT, one_thread


def main() -> int:
    """Run the scripts one after another; return how many failed."""
    scripts = sorted((ROOT / "experiments").glob("[!_]*.py"))
    failed = 0
    for number, script in enumerate(scripts, start=1):
        print(f"experiments: {number} of {len(scripts)}, {script.name}", flush=True)
        command = [sys.executable, str(script)]
        run = subprocess.run(command, cwd=ROOT, check=False, env=one_thread())
        failed += run.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())

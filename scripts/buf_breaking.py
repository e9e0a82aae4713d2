"""`buf breaking` against main's proto/: clients that were built yesterday must work tomorrow."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile

from scripts.uvtool import ROOT, VENV


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


def _is_commit(ref: str) -> bool:
    return _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").returncode == 0


def main() -> int:
    base = next(filter(_is_commit, ("origin/main", "main")), None)
    if base is None or not _git("ls-tree", "--name-only", base, "proto/").stdout:
        print("buf breaking: skipped, there is no proto/ on main yet")
        return 0
    # An exported tree instead of buf's own git input: that one can't read worktrees and shallow clones.
    archive = _git("archive", "--format=tar", base, "proto", "buf.yaml")
    if archive.returncode:
        print(f"buf breaking: git archive failed: {archive.stderr.decode()}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as against:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(against, filter="data")
        checked = subprocess.run([str(VENV / "bin" / "buf"), "breaking", "--against", against], cwd=ROOT, check=False)
    if checked.returncode == 0:
        print(f"buf breaking: compatible with {base}")
    return checked.returncode


if __name__ == "__main__":
    raise SystemExit(main())

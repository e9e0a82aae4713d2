"""The folder of versions, written: a version and the pointer each appear whole or not at all.

Everything here blocks: call it on a thread. Readers are `rank_svc.scorers.folder.VersionFolder`.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from rank_svc.scorers.folder import VersionFolder
from rank_svc.scorers.layout import MANIFEST, POINTER, Manifest, read_manifest, read_version
from rank_svc.scorers.store import ModelRefused

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")


class VersionLibrary:
    """Versions by name in one folder. `packaged`: the version that serves while no pointer names one."""

    def __init__(self, path: Path, packaged: Path) -> None:
        self.path = path
        self._packaged = packaged

    def names(self) -> list[str]:
        """Folders of versions, whole or not, in the order of their names; the packaged one, when it serves, too."""
        found = {
            child.parent.name for child in self.path.glob(f"*/{MANIFEST}") if not child.parent.name.startswith(".")
        }
        if (self.path / POINTER).exists():
            return sorted(found)
        return sorted(found | {read_version(self._packaged)})

    def serving(self) -> str:
        """The version that should serve. Raises ModelRefused when the pointer names none."""
        if (self.path / MANIFEST).is_file():
            raise ModelRefused(
                f"{self.path} is one version's folder; promotion needs a folder of versions in REELGRAPH_MODELS_URL"
            )
        if not (self.path / POINTER).exists():
            return read_version(self._packaged)
        return VersionFolder(self.path).wanted()

    def folder(self, version: str) -> Path:
        """Where a version lies. Raises ModelRefused for what is no name, or no version there."""
        if not _NAME.fullmatch(version):
            raise ModelRefused(f"{version[:100]!r} is neither a version's folder nor the name of a version")
        folder = self.path / version
        if folder.is_dir():
            return folder
        if read_version(self._packaged) == version:
            return self._packaged
        raise ModelRefused(f"{folder}: there is no such version; `reelgraph models` names those that there are")

    def read(self, version: str) -> tuple[Path, Manifest]:
        """A version's folder and manifest, all files checked."""
        folder = self.folder(version)
        manifest = read_manifest(folder)
        if manifest.version != version:
            raise ModelRefused(f"{folder / MANIFEST}: `version` is {manifest.version}, the folder is called {version}")
        return folder, manifest

    def put(self, source: Path) -> Manifest:
        """Copy a version here under its name; one that is here already stays. Raises ModelRefused for a broken one,
        and for another one of the same name."""
        wanted = read_manifest(source)
        if not _NAME.fullmatch(wanted.version):
            raise ModelRefused(f"{source / MANIFEST}: `version` {wanted.version[:100]!r} can't be a folder's name")
        target = self.path / wanted.version
        if target.exists():
            return self._same(target, wanted)
        self.path.mkdir(parents=True, exist_ok=True)
        with self._draft(wanted.version) as draft:
            draft.mkdir()
            # What the manifest names and nothing else.
            for name in (*wanted.files, MANIFEST):
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, draft / name)
            copied = read_manifest(draft)
            _sync_tree(draft)
            try:
                os.rename(draft, target)
            except OSError:
                # Somebody else was faster.
                return self._same(target, wanted)
            _sync(self.path)
        return copied

    def _same(self, target: Path, wanted: Manifest) -> Manifest:
        there = read_manifest(target)
        if there.files != wanted.files:
            raise ModelRefused(f"{target}: is another version of the same name; train with another seed, or remove it")
        return there

    def point(self, version: str) -> None:
        """Let a version that is here, or the packaged one, serve. Atomic."""
        if self.folder(version) == self._packaged or not (self.path / POINTER).exists():
            # What served so far must be there to go back to, also when a later release carries another one.
            self.put(self._packaged)
        with self._draft(POINTER) as draft:
            draft.write_text(f"{version}\n", encoding="utf-8")
            _sync(draft)
            os.replace(draft, self.path / POINTER)
            _sync(self.path)

    def prune(self, keep: int, besides: Collection[str]) -> list[str]:
        """Remove the versions that came here longest ago, but for `keep` of them, the one that should serve, and those
        of `besides`; returns their names."""
        kept = {*besides, self.serving()}
        left = [name for name in self.names() if name not in kept and (self.path / name).is_dir()]
        left.sort(key=lambda name: (self.path / name / MANIFEST).stat().st_mtime_ns, reverse=True)
        for name in left[keep:]:
            # Out of sight at once: a replica must not find half of it.
            gone = self.path / f".{name}.{uuid.uuid4().hex}"
            os.rename(self.path / name, gone)
            shutil.rmtree(gone, ignore_errors=True)
        return left[keep:]

    @contextmanager
    def _draft(self, name: str) -> Iterator[Path]:
        draft = self.path / f".{name}.{uuid.uuid4().hex}"
        try:
            yield draft
        finally:
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A folder of versions, or of one, in the layout of `layout.py`. Everything here blocks: call it on a thread."""

from __future__ import annotations

from pathlib import Path

from rank_svc.scorers.layout import MANIFEST, POINTER, Manifest, read_manifest, read_version
from rank_svc.scorers.store import ModelRefused


class VersionFolder:
    """Where versions lie: a version's own folder, or a folder of versions with a `serving` pointer."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wanted(self) -> str:
        """See `ModelRepository.wanted`."""
        if self._is_version():
            return read_version(self.path)
        pointer = self.path / POINTER
        try:
            name = pointer.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelRefused(f"{self.path}: neither {MANIFEST} nor a readable {POINTER} in it") from error
        if not name or name != Path(name).name or name.startswith("."):
            raise ModelRefused(f"{pointer}: {name[:100]!r} is not the name of a version")
        return name

    def read(self, version: str) -> tuple[Path, Manifest]:
        """The folder and the manifest of a version, all files checked. Raises ModelRefused."""
        folder = self.path if self._is_version() else self.path / version
        manifest = read_manifest(folder)
        if manifest.version != version:
            raise ModelRefused(f"{folder / MANIFEST}: `version` is {manifest.version}, wanted was {version}")
        return folder, manifest

    def _is_version(self) -> bool:
        return (self.path / MANIFEST).is_file()

"""The build hook: compiles the kernels of `danqing.run.native` where there is a C++ compiler, else leaves them out.

A wheel with kernels is one of its platform, without any it is pure. An editable install has them beside their sources.
"""

from __future__ import annotations

import importlib.util
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Kernels(BuildHookInterface):
    """Adds the compiled kernels to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        spec = importlib.util.spec_from_file_location("build", Path(self.root, "src/danqing/run/native/build.py"))
        assert spec and spec.loader
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
        editable = version == "editable"
        self.folder = None if editable else tempfile.TemporaryDirectory()
        made, missing = build.compile_all(build.BUILT if self.folder is None else Path(self.folder.name))
        for reason in missing:
            self.app.display_warning(f"without a kernel, torch computes in its place: {reason}")
        self.app.display_info(f"{len(made)} kernels compiled")
        if made and not editable:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"py3-none-{platform}"}
            build_data["force_include"] |= {str(path): f"danqing/run/native/built/{path.name}" for path in made}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.folder is not None:
            self.folder.cleanup()

"""What others call hints: the words of the field, and the names of A1111's preprocessors (sd-webui-controlnet)."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Networks of this project that hints run, and their files.
SHIPPED: Mapping[str, str] = {"danqing-depth": "depth.safetensors"}
#: Ours -> other names for the same.
SAME: Mapping[str, str] = {
    "edges": "canny",
    "soft-edge": "softedge",
    "line-art": "lineart lineart_standard",
    "scribble": "scribble_xdog sketch",
    "drawn-lines": "invert",
    "normal": "normals normalmap",
    "pose": "openpose",
    "face": "instant_id_face_keypoints",
    "segmentation": "seg mask",
    "inpaint": "inpaint_only inpaint_global_harmonious",
    "given": "none",
    "tile": "tile_resample",
    "blur": "blur_gaussian",
    "colour-grid": "color-grid color t2ia_color_grid",
    "palette": "color-palette",
    "grey": "gray recolor recolor_luminance",
}
#: The same with parameters of its own.
MORE: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "recolor_intensity": ("grey", {"of": "intensity"}),
    "openpose_body": ("pose", {"hands": "false"}),
    "openpose_faceonly": ("face", {"points": "all"}),
}
#: Ours -> what others draw by networks whose weights do not ship: ours shows the same kind of thing, drawn otherwise.
BY_NETWORKS: Mapping[str, str] = {
    "soft-edge": (
        "hed pidinet softedge_hed softedge_hedsafe softedge_pidinet softedge_pidisafe softedge_teed softedge_anyline"
    ),
    "line-art": "lineart_realistic lineart_coarse lineart_anime lineart_anime_denoise",
    "straight": "mlsd",
    "scribble": "scribble_hed scribble_pidinet t2ia_sketch_pidi",
    "depth": "depth_midas midas depth_zoe zoe depth_leres depth_leres++ depth_anything depth_anything_v2",
    "normal": "normal_bae normal_midas normal_dsine",
    "pose": "openpose_full openpose_hand dw_openpose_full",
    "segmentation": "seg_ofade20k seg_ufade20k seg_ofcoco seg_anime_face",
    "inpaint": "inpaint_only+lama",
}


def title(name: str) -> str:
    """A name in small letters with ``_`` between words, without what A1111 adds in brackets: "invert (from white bg &
    black line)"."""
    return re.sub(r"[\s_-]+", "_", name.split("(")[0].strip().lower())


NETWORKS = frozenset(name for names in BY_NETWORKS.values() for name in names.split())
#: Another name, as `title` writes it -> ours and its parameters.
OTHERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    **{title(name): (ours, {}) for ours, names in (*SAME.items(), *BY_NETWORKS.items()) for name in names.split()},
    **MORE,
}


def others(ours: str) -> list[str]:
    """The other names of a hint."""
    return [name for name, (one, _) in OTHERS.items() if one == ours]

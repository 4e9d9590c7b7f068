"""Names without the colours in them: "apple" of "red apple", 心 of 红心."""

from __future__ import annotations

import re

COLOUR_EN = re.compile(r"\b((light|dark) )?(red|orange|yellow|green|teal|blue|purple|pink|brown)\b[ -]?", re.IGNORECASE)
COLOUR_ZH = re.compile("[浅深粉]?[红橙黄绿蓝紫粉棕褐青]色的?")
COLOUR_ALONE = re.compile("^[天浅深粉]?[红橙黄绿蓝紫粉棕褐]+[圈圆]?$")
#: Names that hold a colour which the rules above do not take out well.
BARE = {
    "leafy green": "leafy vegetable", "orange": "tangerine fruit", "红中": "麻将牌", "红辣椒": "辣椒", "小黄花": "小花",
    "红苹果": "苹果", "青苹果": "苹果", "红灯笼": "灯笼", "蓝心": "心", "绿心": "心", "黄心": "心", "紫心": "心",
    "棕心": "心", "橙心": "心", "红心": "心", "红包": "信封", "绿叶蔬菜": "叶菜", "红毛猩猩": "猩猩", "橙子": "桔子",
    "红薯": "地瓜", "红酒": "葡萄酒", "一杯红酒": "一杯葡萄酒", "绿茶": "热茶", "绿植": "盆栽",
    "man with red hair": "man", "woman with red hair": "woman", "person with red hair": "person",
}  # fmt: skip


def bare(name: str) -> str:
    """A name without the colours in it: "apple" of "red apple"; as it is where there are none."""
    return BARE.get(name) or COLOUR_ZH.sub("", COLOUR_EN.sub("", name)).strip() or name


def coloured(name: str) -> bool:
    """Whether a name tells a colour, or is one."""
    return name in BARE or any(rule.search(name) for rule in (COLOUR_EN, COLOUR_ZH, COLOUR_ALONE))

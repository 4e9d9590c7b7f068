"""Captions: what a painter's user would type for a picture, in English and Chinese.

They are drawn anew at every step from the picture's ledger line.

A record is a line of the ledger (`data/ledger.jsonl`) as a dict. Three kinds exist:

- `single`: one subject in one style, on white;
- `composite`: one to three subjects placed on a coloured background;
- `portrait`: a drawn person with named attributes.

`rng` is anything with `.random()` in [0, 1): `random.Random` or `numpy.random.Generator`.
The same state gives the same captions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from experiments.data.labels import word_set
from experiments.data.sources import ART, PORTRAITS

T = TypeVar("T")
Record = Mapping[str, Any]
STYLES = {source.style: source for source in (*ART, *PORTRAITS)}
LANGUAGES = ("en", "zh")
WITHOUT_STYLE = 0.10
TAG_FOR_LABEL = 0.15
WHITE_SAID = 0.06


class Random(Protocol):
    """Anything that draws uniform numbers in [0, 1)."""

    def random(self) -> float: ...


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of the items, each as likely."""
    return items[min(int(rng.random() * len(items)), len(items) - 1)]


# ---- nouns

HEAD_ENDS = re.compile(
    r" (with|without|in|of|on|behind|at|facing|showing|over|under|from|to|pointing|curving|wearing|between|holding"
    r"|getting|playing|savoring|lifting|gesturing|frowning|walking|running|kneeling|kissing"
    r"|exhaling|vomiting|blowing|screaming|wrestling|hugging|rolling)( |$)"
)
MASS = word_set(
    """
    bread rice popcorn butter salt spaghetti sushi fire fog ice wood bacon sake custard garlic broccoli oden falafel
    camping bowling badminton tennis hockey lacrosse pong football yarn thread soap confetti money lightning
    clothing luggage salad toast ginger coral sunrise sunset dusk kabob shaking exhaling vomiting
    """
)
SINGULAR_S = word_set(
    """
    compass glass dress cactus bus octopus lotus walrus cross rhinoceros hippopotamus hibiscus trolleybus minibus
    class biceps bullseye tennis metropolis iris asparagus cypress pass mattress moss campus circus abacus platypus
    T-Rex swiss headdress hourglass santa business canvas lens plus minus amulet claus
    """
)
IRREGULAR_PLURALS = {"people", "men", "women", "children", "fries", "dice", "mice", "teeth", "feet"}
NAMES = re.compile(r"^(Santa|Mrs\.|Mx|Tokyo|Mount Fuji|thumbs|keycap|skull and|[A-Z]+ arrow$)")
UNIQUE = re.compile(r"^(flag of|Statue of Liberty|sun$|milky way|world map|kaaba)")


def noun_en(label: str) -> str:
    """The label with its article: "a fox", "an owl", "grapes", "the flag of France", "Santa Claus"."""
    if UNIQUE.match(label):
        return f"the {label}"
    found = HEAD_ENDS.search(label)
    head = (label[: found.start()] if found else label).split()[-1].lower()
    plural = head in IRREGULAR_PLURALS or (
        head.endswith("s") and not head.endswith(("ss", "'s")) and head not in SINGULAR_S
    )
    if NAMES.match(label) or head in MASS or plural or label.split()[0] in ("two", "three"):
        return label
    vowel = re.match(
        r"([aeio]|u(?!ni|se|rn|ti|k[a-z])|urn|hour|x-ray|(SOS|NG|OK|ID|ATM|UP|AB|ON|END|A|O) )", label, re.IGNORECASE
    )
    vowel = vowel and not re.match(r"(one|once|eu|ewe)", label)
    return f"{'an' if vowel else 'a'} {label}"


MEASURE_BY_END = (  # the first that fits counts; 一个 is right for everything else
    ("按钮|标志|符号|标识|手势|表情|箭头|时钟|[河木]马|靶心|[车齿法天]轮|中心|手机号|邮箱|圆号", "个"),
    ("[歌选骑][手]", "名"), ("[扳]手", "把"), ("脸", "张"), ("旗", "面"),
    ("背心|救生衣|毛衣|大褂|外套|衬衫|T恤|和服|纱丽|泳衣|比基尼|女装", "件"),
    ("地铁|轻轨|火车|列车", "列"), ("车|小巴", "辆"), ("船|艇|客轮|渡轮|独木舟", "艘"), ("飞机|直升机", "架"), ("火箭",
    "枚"), ("树|仙人掌|四叶草|三叶草", "棵"),
    ("花束", "个"), ("雪花|叶", "片"), ("火花|爆米花|烟花|梅花", "个"), ("花|玫瑰|郁金香|向日葵|云|蘑菇", "朵"),
    ("章鱼", "只"), ("鱼|蛇|龙|鳄|蠕虫|毛毛虫|裤|围巾|领带|连衣裙", "条"),
    ("马", "匹"), ("情书|信|信封", "封"), ("书|书本|笔记本|账本", "本"),
    ("伞|刀|椅|轮椅|剑|锯|锁|钥匙|扇|吉他|小提琴|扫帚|牙刷|斧头|锤子|勺|匙", "把"),
    ("心|星星|流星|牙齿|彗星|糖|宝石|骰子", "颗"),
    ("鞋|靴|袜子|手套|筷子|滑雪板", "双"), ("笔|蜡烛|香烟", "支"), ("灯", "盏"),
    ("塔|山|桥|城堡|教堂|神社|工厂|女神像|楼|寺庙|清真寺|房子|小屋|别墅|医院|学校|银行|酒店", "座"),
    ("帽|皇冠|头盔", "顶"), ("图|照片|画|票|床|信用卡|报纸|椅子", "张"), ("的手|手套|耳朵", "只"),
    ("电脑|相机|电视机|打印机|收音机|摄像机|手机", "台"), ("香蕉|羽毛|骨头|胡萝卜|黄瓜|棒棒糖", "根"),
    ("面条|米饭|咖喱饭", "碗"), ("眼镜|墨镜|护目镜", "副"), ("镜子", "面"), ("葡萄", "串"), ("面包|披萨|蛋糕|芝士",
    "块"), ("杯|瓶|壶|盒|罐", "个"), ("酒|奶|茶|热饮|饮料|香槟", "杯"),
)  # fmt: skip
MEASURE_BY_SUBGROUP = {
    "animal-mammal": "只", "animal-bird": "只", "animal-amphibian": "只", "animal-reptile": "只",
    "animal-marine": "只", "animal-bug": "只",
    "monkey-face": "只", "cat-face": "只", "plant-flower": "朵", "food-prepared": "份", "food-asian": "份",
    "person-role": "名",
}  # fmt: skip
COUNTED = re.compile(
    r"^(一百|一家|一锅|一碗|一杯|一孩|二孩|单亲|两|双眼|多个)|两个|、|双手|双人|一男一女|家庭|情侣$|(雾|日出|日落|城市|露营|沙漠|荒岛|公园|滑坡|施工|黄昏|夜晚|雪|银河|彩虹|太阳|月|闪电|火焰|风|唇印)$"
)
UNCOUNTED_SUBGROUPS = {
    "keycap", "event", "sport", "game", "hand-fingers-partial", "hand-single-finger", "hand-fingers-closed", "hands",
    "emotion", "punctuation",
}  # fmt: skip


def noun_zh(label: str, subgroup: str = "") -> str:
    """The label with its number and measure word: 一只狐狸, 一辆汽车; bare where one does not count."""
    if COUNTED.search(label):
        return label
    for endings, measure in MEASURE_BY_END:
        if re.search(f"({endings})$", label):
            return f"一{measure}{label}"
    if subgroup in UNCOUNTED_SUBGROUPS:
        return label
    return f"一{MEASURE_BY_SUBGROUP.get(subgroup, '个')}{label}"


# ---- single pictures

# {a} the noun with its article, {n} the bare label, {s} the style, {t} another word for the subject
WITH_STYLE = {
    "en": (
        "{a}, {s}", "{a}, {s}", "{a}, {s}", "{n}, {s}", "{n}, {s}", "{s} picture of {a}", "{a} in {s}",
        "a picture of {a}, {s}",
        "{s}, {n}", "a drawing of {a} in {s}", "{n}, {t}, {s}", "{a}, emoji, {s}", "an icon of {a}, {s}", "{s} {n}",
        "{n} {s}", "{n} emoji, {s}",
    ),
    "zh": (
        "{n}，{s}", "{n}，{s}", "{n}，{s}", "{a}，{s}", "{a}，{s}", "{s}的{n}", "{s}，{n}", "{n}的图片，{s}",
        "画{a}，{s}", "{n}，{t}，{s}",
        "一张{n}的图，{s}", "{n}图标，{s}", "{n}表情符号，{s}", "{s}{n}", "{n} {s}",
    ),
}  # fmt: skip
WITHOUT = {
    "en": ("{a}", "{a}", "{n}", "{n}", "a picture of {a}", "{n}, {t}", "a drawing of {a}"),
    "zh": ("{n}", "{n}", "{a}", "{n}的图片", "画{a}", "{n}，{t}"),
}
ON_WHITE = {"en": (" on a white background", ", white background"), "zh": ("，白色背景", "，白底")}


def style_name(style: str, lang: str, rng: Random | None = None) -> str:
    """A name of the style: the canonical one without `rng`; with it the canonical one three times in four."""
    names = getattr(STYLES[style], lang)
    return names[0] if rng is None or rng.random() < 0.75 else pick(rng, names)


def _noun(record: Record, lang: str) -> str:
    return noun_en(record["label_en"]) if lang == "en" else noun_zh(record["label_zh"], record.get("subgroup", ""))


def _single(record: Record, lang: str, rng: Random) -> str:
    tags = record.get(f"tags_{lang}", ())
    name, noun = record[f"label_{lang}"], _noun(record, lang)
    if tags and rng.random() < TAG_FOR_LABEL:
        name = noun = pick(rng, tags)
    bare = rng.random() < WITHOUT_STYLE
    template = pick(rng, WITHOUT[lang] if bare else WITH_STYLE[lang])
    if "{t}" in template and not [tag for tag in tags if tag != name]:
        template = WITHOUT[lang][0] if bare else WITH_STYLE[lang][0]
    other = pick(rng, [tag for tag in tags if tag != name] or [name])
    text = template.format(a=noun, n=name, s=style_name(record["style"], lang, rng), t=other)
    return text + (pick(rng, ON_WHITE[lang]) if rng.random() < WHITE_SAID else "")


# ---- composites

PLACES = {
    "left": ("on the left", "在左边"), "right": ("on the right", "在右边"), "top": ("at the top", "在上方"),
    "bottom": ("at the bottom", "在下方"),
    "centre": ("in the centre", "在中间"), "top left": ("in the top left corner", "在左上角"),
    "top right": ("in the top right corner", "在右上角"),
    "bottom left": ("in the bottom left corner", "在左下角"), "bottom right": ("in the bottom right corner",
    "在右下角"),
}  # fmt: skip
RELATIONS = {  # first piece to second
    "left": (("to the left of", "left of", "on the left of"), "左边"), "right": (("to the right of", "right of",
    "on the right of"), "右边"),
    "top": (("above", "over"), "上方"), "bottom": (("below", "under"), "下方"),
}  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def background(record: Record, lang: str, rng: Random | None = None) -> str:
    """The words for a composite's background: "on a light blue background", "浅蓝色背景"."""
    colours = [colour[lang] for colour in record["background"]["colours"]]
    if lang == "zh":
        return f"{colours[0]}背景" if len(colours) == 1 else f"{colours[0]}到{colours[1]}的渐变背景"
    text = f"a{'n' * (colours[0][0] in 'aeio')} {colours[0]} background"
    if len(colours) == 2:
        text = f"a gradient background from {colours[0]} to {colours[1]}"
    return f"on {text}" if rng is None or rng.random() < 0.7 else text.split(" ", 1)[1]


def _scene(record: Record, lang: str, rng: Random | None) -> str:
    """The pieces of a composite and where they are."""
    pieces = record["pieces"]
    nouns = [_noun(piece, lang) for piece in pieces]
    if len(pieces) == 1:
        place = pieces[0]["place"]
        if place == "full" or (rng is not None and rng.random() < 0.3):
            return nouns[0]
        return f"{nouns[0]} {PLACES[place][0]}" if lang == "en" else f"{nouns[0]}{PLACES[place][1]}"
    if len(pieces) == 2 and record.get("relation") and (rng is None or rng.random() < 0.6):
        relation, (first, second) = record["relation"], nouns
        if rng is not None and rng.random() < 0.35:  # the same scene told from the other side
            relation, first, second = OPPOSITE[relation], second, first
        words = RELATIONS[relation][0][0] if rng is None else pick(rng, RELATIONS[relation][0])
        return f"{first} {words} {second}" if lang == "en" else f"{first}在{second}的{RELATIONS[relation][1]}"
    if rng is not None and rng.random() < 0.3:  # only what, not where
        return ", ".join(nouns[:-1]) + f" and {nouns[-1]}" if lang == "en" else "、".join(nouns[:-1]) + f"和{nouns[-1]}"
    if lang == "en":
        return ", ".join(f"{noun} {PLACES[piece['place']][0]}" for noun, piece in zip(nouns, pieces, strict=True))
    return "，".join(f"{noun}{PLACES[piece['place']][1]}" for noun, piece in zip(nouns, pieces, strict=True))


def _composite(record: Record, lang: str, rng: Random | None) -> str:
    scene = _scene(record, lang, rng)
    comma = ", " if lang == "en" else "，"
    parts = []
    if record["style"] and (rng is None or rng.random() > WITHOUT_STYLE):
        parts.append(style_name(record["style"], lang, rng))
    if rng is None or rng.random() > 0.1:
        words = background(record, lang, rng)
        if lang == "en" and words.startswith("on ") and rng is not None and rng.random() < 0.4:
            scene = f"{scene} {words}"
        else:
            parts.append(words)
    if len(parts) == 2 and rng is not None and rng.random() < 0.3:
        parts.reverse()
    return comma.join([scene, *parts])


# ---- portraits

MANNER = ("expression",)  # said before the person; the rest after
SAID_AT_MOST = {"en": 4, "zh": 3}  # attributes in a drawn caption; the canonical one has them all
ORDER = ("hair", "hat", "skin", "beard", "glasses", "earrings", "extra", "gesture", "clothes")


def _portrait(record: Record, lang: str, rng: Random | None) -> str:
    has = {name: words[lang] for name, words in record["attributes"].items()}
    keep = {name for name in has if rng is None or rng.random() < 0.8}
    person, manner = has["person"], has.get("expression", "") if "expression" in keep else ""
    rest = [has[name] for name in ORDER if name in keep and name in has]
    while (
        rng is not None and len(rest) > SAID_AT_MOST[lang]
    ):  # the text window is short: better few words than cut ones
        rest.remove(pick(rng, rest))
    if rng is not None and rng.random() < 0.4:
        rest = [rest[i] for i in sorted(range(len(rest)), key=lambda _: rng.random())]
    style = style_name(record["style"], lang, rng) if rng is None or rng.random() > WITHOUT_STYLE else ""
    ground = has.get("background", "") if "background" in keep else ""
    if lang == "en":
        who = f"{manner} {person}".strip()
        text = f"a{'n' * (who[0] in 'aeiou')} {who}"
        if rest:
            text += " with " + (", ".join(rest[:-1]) + " and " if len(rest) > 1 else "") + rest[-1]
        lead = (
            ""
            if rng is None or rng.random() < 0.7
            else pick(rng, ("portrait of ", "a portrait of ", "a drawing of ", "avatar of "))
        )
        return ", ".join(part for part in (lead + text, style, f"{ground} background" if ground else "") if part)
    text = f"一个{manner}的{person}" if manner else f"一个{person}"
    text = "，".join([text, *rest])
    lead = "" if rng is None or rng.random() < 0.7 else pick(rng, ("肖像，", "头像，", "人物画，"))
    return "，".join(part for part in (lead + text, style, f"{ground}背景" if ground else "") if part)


# ---- the door


def canonical(record: Record, lang: str = "en") -> str:
    """The one caption used in evaluation: subject, then style, then whatever else is drawn.

    A single picture: "a fox, 3d style" in English, "狐狸，3D风格" in Chinese. `lang` is "en" or "zh".
    """
    if record["kind"] == "composite":
        return _composite(record, lang, None)
    if record["kind"] == "portrait":
        return _portrait(record, lang, None)
    comma, noun = (", ", noun_en(record["label_en"])) if lang == "en" else ("，", record["label_zh"])
    return noun + comma + style_name(record["style"], lang)


def caption(record: Record, rng: Random, lang: str) -> str:
    """One caption drawn at random in one language."""
    kinds = {"single": _single, "composite": _composite, "portrait": _portrait}
    text = kinds[record["kind"]](record, lang, rng)
    if lang == "en" and rng.random() < 0.1:
        return text.lower()
    return text


def captions(record: Record, rng: Random) -> list[tuple[str, str]]:
    """A caption in each language, drawn at random: [("en", ...), ("zh", ...)]; a trainer takes one or both."""
    return [(lang, caption(record, rng, lang)) for lang in LANGUAGES]

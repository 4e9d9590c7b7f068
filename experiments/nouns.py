"""Names as nouns in a sentence: with an article or a measure word, and counted, in English and Chinese."""

from __future__ import annotations

import re

from experiments.data.labels import word_set

HEAD_ENDS = re.compile(
    r" (with|without|in|of|on|behind|at|facing|showing|tilted|over|under|from|to|pointing|curving|wearing|between"
    r"|holding|getting|playing|savoring|lifting|gesturing|frowning|walking|running|kneeling|kissing"
    r"|exhaling|vomiting|blowing|screaming|wrestling|hugging|rolling)( |$)"
)
MASS = word_set(
    """
    bread rice popcorn butter salt spaghetti sushi fire fog ice wood bacon sake custard garlic broccoli oden falafel
    camping bowling badminton tennis hockey lacrosse pong football yarn thread soap confetti money lightning
    milk tea coffee wine champagne beer mail email e-mail cheese meat soup stew honey soda corn maize lettuce paella
    pasta ramen curry water rain snow cash poop poo medicine cutlery applause chocolate takeout takeaway paper pudding
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
#: A name that begins with its number and measure word: 一杯茶.
MEASURED = re.compile(
    "^[一两](?=[个只条辆张面艘架枚棵朵片块把颗双支盏座顶封本根杯碗锅盘瓶桶袋串束摞滴副份名匹幅堆]..?)"
)
#: Names that take no number and measure word.
COUNTED = re.compile(
    MEASURED.pattern + "|^(一百|一家|一点|一孩|二孩|单亲|两|双眼|多个)|两个|、|双手|双人|一男一女|家庭|情侣$"
    "|(雾|日出|日落|城市|露营|沙漠|荒岛|公园|滑坡|施工|黄昏|夜晚|雪|银河|彩虹|太阳|月|闪电|火焰|风|唇印)$"
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


# ---- more than one

NUMBERS = {1: ("one", "一"), 2: ("two", "两"), 3: ("three", "三")}
PLURALS = {
    "man": "men", "woman": "women", "person": "people", "child": "children", "foot": "feet", "tooth": "teeth",
    "goose": "geese", "mouse": "mice", "ox": "oxen", "leaf": "leaves", "knife": "knives", "wolf": "wolves",
    "scarf": "scarves", "loaf": "loaves", "sheep": "sheep", "fish": "fish", "blowfish": "blowfish", "deer": "deer",
    "moose": "moose", "bison": "bison", "shrimp": "shrimps", "squid": "squids", "aircraft": "aircraft", "die": "dice",
    "cactus": "cacti", "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "elf": "elves",
    "merman": "mermen", "cuttlefish": "cuttlefish", "jellyfish": "jellyfish", "postman": "postmen",
}  # fmt: skip


def plural_en(name: str) -> str:
    """A name as more than one: "foxes", "slices of pizza", "men with a beard"."""
    found = HEAD_ENDS.search(name)
    head, rest = (name[: found.start()], name[found.start() :]) if found else (name, "")
    before, _, last = head.rpartition(" ")
    if last.lower() in PLURALS:
        many = PLURALS[last.lower()]
    elif re.search(r"(s|x|z|ch|sh)$", last):
        many = last + "es"
    elif re.search(r"[^aeiou]y$", last):
        many = last[:-1] + "ies"
    elif re.search(r"(tomat|potat|mang|volcan|tornad)o$", last):
        many = last + "es"
    else:
        many = last + "s"
    return f"{before} {many}{rest}".lstrip()


def countable(name: str, lang: str, subgroup: str = "") -> bool:
    """Whether more than one can be told."""
    if lang == "en":
        return noun_en(name).startswith(("a ", "an "))
    return noun_zh(name, subgroup).startswith("一") and not COUNTED.search(name)


def counted(name: str, count: int, lang: str, subgroup: str = "") -> str:
    """Two or three of a `countable` name: "two foxes", 两只狐狸."""
    if lang == "en":
        return f"{NUMBERS[count][0]} {plural_en(name)}"
    return NUMBERS[count][1] + noun_zh(name, subgroup).removeprefix("一")

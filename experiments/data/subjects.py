"""Subjects: what a picture shows, named in natural English and Chinese, and found again in each art set by its icon name."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Places whose flag is not that of a state: in Chinese they have a 旗, not a 国旗.
NOT_A_STATE = set(
    ["AC", "AI", "AQ", "AS", "AW", "AX", "BL", "BM", "BQ", "BV", "CC", "CK", "CP", "CQ", "CW", "CX", "DG", "EA", "EH",
    "EU", "FK", "FO", "GF", "GG", "GI", "GL", "GP", "GS", "GU", "HK", "HM", "IC", "IM", "IO", "JE", "KY", "MF", "MO",
    "MP", "MQ", "MS", "NC", "NF", "NU", "PF", "PM", "PN", "PR", "PS", "RE", "SH", "SJ", "SX", "TA", "TC", "TF", "TK",
    "TW", "UM", "UN", "VG", "VI", "WF", "XK", "YT"]
)
WITH_ARTICLE = re.compile(
    r"(Islands?|Territor(y|ies)|Republic|Emirates|Kingdom|States|Union|Nations|Netherlands|Philippines|Bahamas|Gambia"
    r"|Maldives|Comoros|Seychelles|Vatican City|Isle of Man)$"
)
NO_ARTICLE = {"Christmas Island", "Norfolk Island", "Clipperton Island", "Ascension Island", "Bouvet Island"}
FACE_SUBGROUPS = {
    "face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical", "face-sleepy",
    "face-unwell",
    "face-hat", "face-glasses", "face-concerned",
}  # fmt: skip
# English labels whose published wording names the meaning of the sign and not what is drawn, or reads badly in a sentence.
EN = {
    "ZZZ": "zzz sleeping sign",
    "hundred points": "hundred points sign",
    "pool 8 ball": "pool eight ball",
    "1st place medal": "gold medal",
    "2nd place medal": "silver medal",
    "3rd place medal": "bronze medal",
    "person: bald": "bald person",
    "man: bald": "bald man",
    "woman: bald": "bald woman",
    "person: beard": "person with a beard",
    "man: beard": "man with a beard",
    "woman: beard": "woman with a beard",
    "kiss": "couple kissing",
    "kiss: woman, man": "woman and man kissing",
    "kiss: man, man": "two men kissing",
    "kiss: woman, woman": "two women kissing",
    "couple with heart: woman, man": "woman and man with a heart",
    "couple with heart: man, man": "two men with a heart",
    "couple with heart: woman, woman": "two women with a heart",
    "keycap: #": "keycap hash",
    "keycap: *": "keycap asterisk",
    "ON! arrow": "ON arrow",
    "UP! button": "UP button",
    "cooking": "fried egg in a pan",
    "locked": "locked padlock",
    "unlocked": "unlocked padlock",
    "locked with pen": "padlock with pen",
    "locked with key": "padlock with key",
    "dizzy": "dizzy star",
    "dashing away": "dashing away cloud",
    "foggy": "foggy city",
    "high voltage": "lightning bolt",
    "star-struck": "star-struck face",
    "hourglass done": "hourglass",
    "rolling on the floor laughing": "face rolling on the floor laughing",
    "hourglass not done": "hourglass with flowing sand",
    "palms up together": "hands with palms up together",
    "mount fuji": "Mount Fuji",
    "flower playing cards": "hanafuda flower cards",
    "construction": "road barrier",
    "building construction": "building under construction",
    "dna": "DNA double helix",
    "horse racing": "jockey on a racing horse",
    "pouring liquid": "glass pouring liquid",
    "camping": "camping site",
    "wedding": "wedding chapel",
    "performing arts": "theater masks",
    "light rail": "light rail train",
    "metro": "metro train",
    "station": "train station",
    "nail polish": "hand with nail polish",
    "speaker low volume": "speaker at low volume",
    "speaker medium volume": "speaker at medium volume",
    "speaker high volume": "speaker at high volume",
    "index pointing up": "index finger pointing up",
    "index pointing at the viewer": "index finger pointing at the viewer",
    "sauropod": "sauropod dinosaur",
    "breast-feeding": "woman breast-feeding",
    "yin yang": "yin yang symbol",
    "om": "om symbol",
    "input latin uppercase": "uppercase letters button",
    "input latin lowercase": "lowercase letters button",
    "input numbers": "numbers button",
    "input symbols": "symbols button",
    "input latin letters": "letters button",
    "sun behind cloud": "sun behind a cloud",
    "sun behind small cloud": "sun behind a small cloud",
    "e-mail": "e-mail envelope",
    "sun behind large cloud": "sun behind a large cloud",
    "sun behind rain cloud": "sun behind a rain cloud",
    "mate": "mate drink",
}
SIGNS = {  # labels that name what a sign says
    "warning", "prohibited", "no entry", "no smoking", "no bicycles", "no littering", "no pedestrians",
    "no mobile phones",
    "no one under eighteen", "potable water", "non-potable water", "radioactive", "biohazard", "customs",
    "left luggage", "baggage claim",
    "passport control", "water closet", "restroom", "men’s room", "women’s room", "children crossing", "multiply",
    "plus", "minus", "divide",
    "infinity", "wireless", "copyright", "registered", "trade mark", "information", "cinema", "vibration mode",
    "mobile phone off",
    "currency exchange", "place of worship",
}  # fmt: skip
# Chinese labels: the published ones are often a mood, a verb or a wrong sense; these say what the picture shows.
ZH = {
    "no bicycles": "禁止自行车标志", "no littering": "禁止乱扔垃圾标志", "non-potable water": "非饮用水标志",
    "no pedestrians": "禁止行人标志",
    "no mobile phones": "禁止使用手机标志", "litter in bin sign": "倒垃圾标志", "men’s room": "男厕标志",
    "women’s room": "女厕标志",
    "wireless": "无线标志", "vibration mode": "振动模式标志", "currency exchange": "货币兑换标志",
    "place of worship": "宗教场所标志",
    "TOP arrow": "置顶箭头", "om": "奥姆符号", "yin yang": "阴阳符号", "envelope with arrow": "收邮件信封",
    "e-mail": "电子邮件信封",
    "closed mailbox with raised flag": "旗子升起的关闭邮箱", "closed mailbox with lowered flag": "旗子放下的关闭邮箱",
    "open mailbox with raised flag": "旗子升起的打开邮箱", "open mailbox with lowered flag": "旗子放下的打开邮箱",
    "input latin uppercase": "大写字母按钮", "input latin lowercase": "小写字母按钮", "input numbers": "数字按钮",
    "input symbols": "符号按钮", "input latin letters": "字母按钮", "A button (blood type)": "A按钮",
    "B button (blood type)": "B按钮",
    "AB button (blood type)": "AB按钮", "O button (blood type)": "O按钮", "low battery": "低电量电池",
    "building construction": "施工中的建筑",
    "x-ray": "X光片", "dna": "DNA双螺旋", "head shaking horizontally": "左右摇头表情",
    "head shaking vertically": "上下点头表情",
    "face with hand over mouth": "捂嘴表情", "airplane departure": "起飞的飞机", "airplane arrival": "降落的飞机",
    "hatching chick": "破壳的小鸡", "leaf fluttering in wind": "风中的落叶", "pouring liquid": "倒水的杯子",
    "waving hand": "挥动的手",
    "bottle with popping cork": "打开的香槟", "leftwards pushing hand": "向左推的手",
    "rightwards pushing hand": "向右推的手",
    "middle finger": "竖起的中指", "biting lip": "咬住的嘴唇", "open hands": "张开的双手",
    "mending heart": "缠绷带的心",
    "heart exclamation": "心形感叹号", "honey pot": "蜂蜜罐", "ATM sign": "取款机标志", "shower": "淋浴喷头",
    "person raising hand": "举手的人", "breast-feeding": "母乳喂养的女人", "woman fairy": "仙女",
    "face with steam from nose": "傲慢表情",
    "sleepy face": "困倦表情", "downcast face with sweat": "流汗表情", "frowning face with open mouth": "张嘴皱眉表情",
    "face with spiral eyes": "眩晕表情", "crying face": "哭泣表情", "tired face": "疲惫表情", "hot face": "热脸",
    "see-no-evil monkey": "捂眼睛的猴子", "hear-no-evil monkey": "捂耳朵的猴子", "speak-no-evil monkey": "捂嘴的猴子",
    "thumbs up": "竖起大拇指", "hundred points": "一百分标志", "family": "一家人",
    "person tipping hand": "摊手的人", "man tipping hand": "摊手的男人", "woman tipping hand": "摊手的女人",
    "person gesturing OK": "做OK手势的人", "man gesturing OK": "做OK手势的男人", "woman gesturing OK": "做OK手势的女人",
    "person gesturing NO": "做禁止手势的人", "man gesturing NO": "做禁止手势的男人",
    "woman gesturing NO": "做禁止手势的女人",
    "person": "人", "person: blond hair": "金发的人", "man: blond hair": "金发男人", "woman: blond hair": "金发女人",
    "person walking": "走路的人", "man walking": "走路的男人", "woman walking": "走路的女人",
    "person running": "跑步的人", "person rowing boat": "划船的人", "person surfing": "冲浪的人",
    "person swimming": "游泳的人", "person bouncing ball": "拍球的人", "person lifting weights": "举重的人",
    "person biking": "骑自行车的人", "person mountain biking": "骑山地车的人", "person cartwheeling": "侧手翻的人",
    "person playing water polo": "打水球的人", "person playing handball": "打手球的人",
    "person juggling": "抛球杂耍的人",
    "person bowing": "鞠躬的人", "kiss": "亲吻的情侣", "kiss: woman, man": "亲吻的女人和男人",
    "kiss: man, man": "亲吻的两个男人",
    "kiss: woman, woman": "亲吻的两个女人", "couple with heart": "爱心情侣",
    "couple with heart: woman, man": "女人和男人情侣",
    "couple with heart: man, man": "两个男人情侣", "couple with heart: woman, woman": "两个女人情侣",
    "snowboarder": "玩单板滑雪的人", "horse racing": "赛马的骑手", "people wrestling": "两个摔跤的人",
    "men wrestling": "两个摔跤的男人",
    "women wrestling": "两个摔跤的女人", "skis": "滑雪板", "ice skate": "冰鞋", "dizzy": "头晕的星星",
    "dashing away": "疾跑的烟尘",
    "foggy": "雾中的城市", "fog": "雾", "sun behind cloud": "云后的太阳", "sun behind small cloud": "小云后的太阳",
    "sun behind large cloud": "大云后的太阳", "sun behind rain cloud": "雨云后的太阳", "cloud with rain": "下雨的云",
    "cloud with snow": "下雪的云", "cloud with lightning": "打雷的云", "cloud with lightning and rain": "雷雨云",
    "wind face": "吹风的脸", "high voltage": "闪电", "cyclone": "旋风", "sauropod": "蜥脚恐龙", "llama": "羊驼",
    "plunger": "马桶搋子", "performing arts": "戏剧面具", "multiply": "乘号", "plus": "加号", "minus": "减号",
    "divide": "除号",
    "egg": "鸡蛋", "blossom": "小黄花", "barber pole": "理发店灯柱", "wedding": "婚礼教堂", "joker": "小丑牌",
    "chess pawn": "国际象棋兵",
    "baby symbol": "宝宝标志", "ZZZ": "睡觉的ZZZ", "raised fist": "举起的拳头", "raised hand": "举起的手",
    "clapping hands": "鼓掌的手",
    "raising hands": "举起的双手", "OK hand": "OK手势", "writing hand": "写字的手", "call me hand": "打电话的手势",
    "love-you gesture": "我爱你手势", "sign of the horns": "摇滚手势", "flexed biceps": "肌肉手臂", "handshake": "握手",
    "oncoming fist": "迎面的拳头", "nail polish": "涂指甲油的手", "selfie": "自拍的手", "folded hands": "合十的双手",
    "speaking head": "说话的头", "bust in silhouette": "人像剪影", "busts in silhouette": "双人像剪影",
    "people hugging": "两个拥抱的人",
    "wind chime": "风铃", "camping": "露营帐篷", "bullseye": "靶心", "bowling": "保龄球", "water pistol": "水枪",
    "cooking": "煎蛋锅", "steaming bowl": "一碗面条", "sheaf of rice": "稻穗", "hot springs": "温泉标志",
    "rosette": "玫瑰花饰",
    "clinking beer mugs": "碰杯的啤酒", "clinking glasses": "碰杯的香槟", "locked": "锁", "watch": "手表",
    "skull": "骷髅头",
    "skull and crossbones": "骷髅和交叉骨", "person in suit levitating": "悬浮的西装男子",
    "men with bunny ears": "戴兔耳朵的男人",
    "women with bunny ears": "戴兔耳朵的女人", "people with bunny ears": "戴兔耳朵的人", "snowman": "雪中的雪人",
    "speaker high volume": "高音量扬声器", "fish cake with swirl": "鱼板", "ferris wheel": "摩天轮",
    "customs": "海关标志",
    "person getting massage": "按摩的人", "person getting haircut": "理发的人", "ballet dancer": "芭蕾舞者",
    "bug": "毛毛虫",
    "cinema": "电影院标志", "dim button": "低亮度按钮", "infinity": "无穷大符号", "copyright": "版权符号",
    "registered": "注册商标符号",
    "trade mark": "商标符号", "information": "信息标志", "red heart": "红心", "rock": "石头",
    "broken heart": "破碎的心",
    "heart with arrow": "中箭的心", "beating heart": "跳动的心", "growing heart": "变大的心",
    "anger symbol": "怒气符号",
    "exploding head": "爆炸头表情", "smiling face with halo": "天使微笑表情", "smiling face with horns": "恶魔微笑表情",
    "angry face with horns": "生气的恶魔", "cut of meat": "肉排", "honeybee": "蜜蜂", "curly loop": "卷曲环",
    "sweat droplets": "汗滴", "poultry leg": "鸡腿", "mobile phone off": "手机关机标志", "person climbing": "攀岩的人",
    "circled M": "圆圈M", "P button": "停车按钮", "heart suit": "红桃", "cloud": "云", "hole": "洞",
    "prohibited": "禁止标志",
    "no entry": "禁止通行标志", "no smoking": "禁止吸烟标志", "warning": "警告标志", "radioactive": "辐射标志",
    "biohazard": "生物危害标志",
    "restroom": "卫生间标志", "water closet": "厕所标志", "passport control": "护照检查标志",
    "baggage claim": "提取行李标志",
    "left luggage": "寄存行李标志", "potable water": "饮用水标志", "antenna bars": "信号强度条", "sparkles": "闪光",
    "star and crescent": "星月标志", "cricket": "蟋蟀", "ring": "戒指", "link": "链环",
    "no one under eighteen": "18禁标志",
    "children crossing": "儿童过街标志", "money with wings": "长翅膀的钱", "bell with slash": "静音铃铛",
    "kiss mark": "唇印",
}  # fmt: skip

# Icon names that say the same thing in other words than the label does (older Unicode names, each set's own habits).
OTHER_NAMES: dict[str, dict[str, str]] = {
    "*": {
        "hugging-face": "smiling face with open hands", "dizzy-face": "face with crossed-out eyes",
        "knocked-out-face": "face with crossed-out eyes", "pouting-face": "enraged face", "direct-hit": "bullseye",
        "pistol": "water pistol", "exclamation-mark": "red exclamation mark", "question-mark": "red question mark",
        "keycap-asterisk": "keycap: *", "keycap-pound": "keycap: #", "keycap-hashtag": "keycap: #",
        "up-exclamation-button": "UP! button", "up-text-button": "UP! button", "on-exclamation-arrow": "ON! arrow",
        "a-button": "A button (blood type)", "ab-button": "AB button (blood type)", "b-button": "B button (blood type)",
        "o-button": "O button (blood type)",
    },
    "emojione": {
        "blond-haired-person": "person: blond hair", "cat-face-with-tears-of-joy": "cat with tears of joy",
        "cat-face-with-wry-smile": "cat with wry smile", "crying-cat-face": "crying cat",
        "grinning-cat-face": "grinning cat",
        "grinning-cat-face-with-smiling-eyes": "grinning cat with smiling eyes", "kissing-cat-face": "kissing cat",
        "smiling-cat-face-with-heart-eyes": "smiling cat with heart-eyes", "pouting-cat-face": "pouting cat",
        "weary-cat-face": "weary cat", "robot-face": "robot", "heavy-heart-exclamation": "heart exclamation",
        "man-and-woman-holding-hands": "woman and man holding hands", "two-men-holding-hands": "men holding hands",
        "two-women-holding-hands": "women holding hands", "man-in-suit-levitating": "person in suit levitating",
        "man-with-chinese-cap": "person with skullcap",
    },
    "fluent-emoji": {
        "blackbird": "black bird", "man-blonde-hair": "man: blond hair", "woman-blonde-hair": "woman: blond hair",
        "person-blonde-hair": "person: blond hair", "man-deaf": "deaf man", "woman-deaf": "deaf woman",
        "person-deaf": "deaf person",
        "man-merpeople": "merman", "woman-merpeople": "mermaid", "person-merpeople": "merperson", "person-elf": "elf",
        "person-fairy": "fairy", "person-genie": "genie", "person-mage": "mage", "person-superhero": "superhero",
        "person-supervillain": "supervillain", "person-vampire": "vampire", "person-zombie": "zombie",
        "man-wrestling": "men wrestling",
        "woman-wrestling": "women wrestling", "person-wrestling": "people wrestling", "phoenix-bird": "phoenix",
        "piata": "piñata",
        "man-with-bunny-ears": "men with bunny ears", "woman-with-bunny-ears": "women with bunny ears",
        "person-with-bunny-ears": "people with bunny ears",
    },
    "fxemoji": {
        "pig": "pig face", "cat": "cat face", "dog": "dog face", "mouse": "mouse face", "tiger": "tiger face",
        "cow": "cow face",
        "horseface": "horse face", "monkey": "monkey", "2hearts": "two hearts", "alienmonster": "alien monster",
        "americasglobe": "globe showing Americas", "aok": "OK hand",
        "asiaaustraliaglobe": "globe showing Asia-Australia", "europeafricaglobe": "globe showing Europe-Africa",
        "angry": "angry face", "anguish": "anguished face", "astonished": "astonished face", "aubergine": "eggplant",
        "automatedtellermachine": "ATM sign", "bactriancamel": "two-hump camel", "dromedarycamel": "camel",
        "banknotedollar": "dollar banknote",
        "banknoteeuro": "euro banknote", "banknotepound": "pound banknote", "banknoteyen": "yen banknote",
        "barchart": "bar chart",
        "billiards": "pool 8 ball", "bunny": "rabbit face", "bunnyside": "rabbit", "catside": "cat", "dogside": "dog",
        "pigside": "pig",
        "mouseside": "mouse", "tigerside": "tiger", "leopardside": "leopard", "dragonhead": "dragon face",
        "dragonside": "dragon",
        "cellphone": "mobile phone", "chilipepper": "hot pepper", "clap": "clapping hands",
        "beachumbrella": "beach with umbrella",
        "brokenheart": "broken heart", "heartblue": "blue heart", "heartgreen": "green heart",
        "heartpurple": "purple heart",
        "heartyellow": "yellow heart", "heartarrow": "heart with arrow", "heartribbon": "heart with ribbon",
        "confounded": "confounded face",
        "confused": "confused face", "crying": "crying face", "loudlycrying": "loudly crying face",
        "curryandrice": "curry rice",
        "devilhorns": "smiling face with horns", "imp": "angry face with horns", "directhit": "bullseye",
        "disappointed": "disappointed face",
        "doveofpeace": "dove", "earofmaize": "ear of corn", "earofrice": "sheaf of rice", "electrictorch": "flashlight",
        "europeancastle": "castle", "evergreen": "evergreen tree", "expressionless": "expressionless face",
        "fatherchristmas": "Santa Claus",
        "faxmachine": "fax machine", "fearful": "fearful face", "firstquartermoonface": "first quarter moon face",
        "lastquartermoonface": "last quarter moon face", "fishcakeswirl": "fish cake with swirl",
        "fishingpoleandfish": "fishing pole",
        "flexbicep": "flexed biceps", "forkknife": "fork and knife", "frontfacingchick": "front-facing baby chick",
        "fullmoonwithface": "full moon face", "newmoonwithface": "new moon face", "gem": "gem stone",
        "grimacing": "grimacing face",
        "halo": "smiling face with halo", "hampster": "hamster", "heels": "high-heeled shoe",
        "highspeedtrain": "high-speed train",
        "highspeedtrainbulletnose": "bullet train", "hocho": "kitchen knife", "hourglass": "hourglass done",
        "hourglassflowingsand": "hourglass not done", "housebuilding": "house", "housebuildings": "houses",
        "hushed": "hushed face",
        "izakayalantern": "red paper lantern", "kissing": "kissing face", "kissmark": "kiss mark",
        "leaffluttering": "leaf fluttering in wind",
        "leftmagnifyingglass": "magnifying glass tilted left", "rightmagnifyingglass": "magnifying glass tilted right",
        "lips": "mouth",
        "lock": "locked", "openlock": "unlocked", "lowerleftcrayon": "crayon", "lowerleftpaintbrush": "paintbrush",
        "lowerleftpencil": "pencil", "mahjong": "mahjong red dragon", "makeupbag": "clutch bag", "mansshirt": "t-shirt",
        "mensshoe": "man’s shoe", "womanshat": "woman’s hat", "womansshirt": "woman’s clothes",
        "monkeyhear": "hear-no-evil monkey",
        "monkeysee": "see-no-evil monkey", "monkeyspeak": "speak-no-evil monkey", "moyai": "moai",
        "neutral": "neutral face",
        "nomouth": "face without mouth", "opticaldisc": "optical disk", "openmouth": "face with open mouth",
        "pandaface": "panda",
        "pawprints": "paw prints", "pensive": "pensive face", "perservere": "persevering face", "pigsnout": "pig nose",
        "poo": "pile of poo",
        "potablewatersystem": "potable water", "present": "wrapped gift", "racecar": "racing car",
        "relieved": "relieved face",
        "ringingbell": "bell", "sakebottleandcup": "sake", "sandals": "woman’s sandal", "schoolsatchel": "backpack",
        "scorpius": "Scorpio",
        "saggitarius": "Sagittarius", "screamfear": "face screaming in fear", "sheep": "ewe", "skiandskiboot": "skis",
        "sleeping": "sleeping face", "sleepy": "sleepy face", "sleuthspy": "detective", "sliceofpizza": "pizza",
        "smirk": "smirking face",
        "snowmountains": "snow-capped mountain", "soccerball": "soccer ball", "spurtingwhale": "spouting whale",
        "steamlocomotive": "locomotive",
        "statueofliberty": "Statue of Liberty", "sunraincloud": "sun behind rain cloud", "raincloud": "cloud with rain",
        "snowcloud": "cloud with snow", "sunsetoverbuildings": "sunset",
        "sunriseovermountains": "sunrise over mountains",
        "tennisball": "tennis", "tie": "necktie", "tired": "tired face", "toykotower": "Tokyo tower",
        "triumph": "face with steam from nose",
        "unamused": "unamused face", "videocasette": "videocassette", "wave": "water wave", "waving": "waving hand",
        "weary": "weary face",
        "winking": "winking face", "wolfface": "wolf", "worried": "worried face", "whiteflower": "white flower",
        "flushed": "flushed face",
        "bouquetofflowers": "bouquet", "lightbulb": "light bulb", "smileeyes": "smiling face with smiling eyes",
        "hearteyes": "smiling face with heart-eyes", "medicalmask": "face with medical mask",
        "manltepiececlock": "mantelpiece clock",
        "housewithgarden": "house with garden", "sunwithface": "sun with face", "fireengine": "fire engine",
        "boot": "woman’s boot",
        "redapple": "red apple", "mapleleaf": "maple leaf", "fallingleaf": "fallen leaf", "bluebook": "blue book",
        "whitemediumstar": "star",
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing that pictures show: its code points and its names."""

    hexcode: str
    published: str
    label_en: str
    label_zh: str
    tags_en: tuple[str, ...]
    tags_zh: tuple[str, ...]
    group: str
    subgroup: str


def slug(text: str) -> str:
    """The label as icon sets write it: lower case ASCII words joined by hyphens."""
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"[’'“”.!()&]", "", text)).strip("-")


def plain_code(code: str) -> str:
    """A code point sequence without its variation selectors, in upper case."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def _members(words: list[str], joiner: str, last: str, pair: Callable[[str], str], one: Callable[[str], str]) -> str:
    """The members of a family, the same ones counted: two men, a girl and a boy."""
    named = [pair(word) if words.count(word) == 2 else one(word) for word in dict.fromkeys(words)]
    return named[0] if len(named) == 1 else joiner.join(named[:-1]) + last + named[-1]


def english(label: str, subgroup: str) -> str:
    """The English name of a subject as one says it in a sentence."""
    if label in EN:
        return EN[label]
    text = label.replace("’", "'").replace("“", "").replace("”", "").replace("&", "and").replace(" (blood type)", "")
    text = re.sub(r"\s*\(.*?\)", "", text).replace(" - ", " ")
    if label in SIGNS or subgroup == "zodiac":
        return f"{text} {'zodiac sign' if subgroup == 'zodiac' else 'sign'}"
    if text.startswith("backhand index"):
        return text.replace("index", "index finger")
    if text.startswith("flag: "):
        place = text[6:]
        the = "the " if WITH_ARTICLE.search(place) and place not in NO_ARTICLE else ""
        return f"flag of {the}{place}"
    if text.startswith("family: "):
        many = {"man": "men", "woman": "women", "child": "children"}
        return "family of " + _members(
            text[8:].split(", "), ", ", " and ",
            lambda m: "two " + many.get(m, m + "s"),
            lambda m: f"a{'n' * (m[0] == 'a')} {m}",
        )  # fmt: skip
    if text.startswith("keycap: "):
        return "keycap " + text[8:]
    if subgroup == "time" and ("o'clock" in text or text.endswith("-thirty")):
        return f"clock showing {text}"
    if ": facing" in text:
        return text.replace(": facing", " facing")
    if ": " in text:
        return text.replace(": ", " with ")
    return text.rstrip("!")


def chinese(label: str, zh: str, subgroup: str, tags: tuple[str, ...]) -> str:
    """The Chinese name of a subject as one says it in a sentence."""
    if label in ZH:
        return ZH[label]
    if subgroup == "zodiac":
        return f"{zh}符号"
    text = re.sub("(?<=[A-Z!]) |!", "", zh).replace("“", "").replace("”", "").replace("'", "").strip()
    if label.startswith("flag: "):
        place = text.split(": ")[-1]
        state = subgroup == "country-flag" and not NOT_A_STATE & set(tags)
        return re.sub("[（()）]", "", place).replace(" ", "") + ("国旗" if state else "旗")
    if label.startswith("keycap: "):
        return "按键" + text.split(": ")[-1].replace("#", "井号").replace("*", "星号")
    if label.startswith("family: ") and text.startswith("家庭: "):
        found = re.findall("男人|女人|男孩|女孩", text[4:])
        return _members(found, "、", "和", lambda m: "两个" + m, lambda m: m) + "的家庭"
    if ": " in text:
        whom, what = text.split(": ")
        whom = chinese(label.split(":")[0], whom, subgroup, tags).replace("成人", "人")
        return f"{what}的{whom}" if len(what) > 2 or whom == "人" else f"{what}{whom}"
    if subgroup == "time" and re.search("[点半]$", text):
        return f"{text}的时钟"
    if subgroup.startswith("person-"):
        sex = {"person": "人", "man": "男人", "woman": "女人"}.get(label.split()[0], "")
        if sex and (found := re.match(r"[男女]生(.+)", text)):
            return f"{found[1]}的{sex}"
        if sex and (found := re.match(r"(..+)[男女]$", text)):
            return f"{found[1]}的{sex}"
        if sex == "人" and text[-1] not in "人者手员子":
            return f"{text}的人"
    if subgroup in FACE_SUBGROUPS and text[-1] not in "脸头":
        return f"{text}表情"
    if subgroup == "face-negative" and label.endswith("face") and text[-1] != "脸":
        return f"{text}表情"
    return text


def load_subjects(modules: Path) -> dict[str, Subject]:
    """All subjects of emojibase by hexcode; letters and components (a skin tone, a hair style alone) are none."""
    base = modules / "emojibase-data"
    meta = json.loads((base / "meta/groups.json").read_text())
    zh = {entry["hexcode"]: entry for entry in json.loads((base / "zh/data.json").read_text())}
    subjects = {}
    for entry in json.loads((base / "en/data.json").read_text()):
        if meta["groups"].get(str(entry.get("group"))) in (None, "component"):  # letters, skin tones and hair alone
            continue
        other, label, subgroup = zh[entry["hexcode"]], entry["label"], meta["subgroups"][str(entry["subgroup"])]
        tags_en = tuple(
            tag for tag in entry.get("tags", ()) if len(tag) > 2 and re.fullmatch(r"[A-Za-z][A-Za-z' -]+", tag)
        )
        subjects[entry["hexcode"]] = Subject(
            hexcode=entry["hexcode"],
            published=label,
            label_en=english(label, subgroup),
            label_zh=chinese(label, other["label"], subgroup, tuple(entry.get("tags", ()))),
            tags_en=() if subgroup in ("country-flag", "subdivision-flag", "keycap") else tags_en,
            tags_zh=tuple(
                tag
                for tag in other.get("tags", ())
                if re.fullmatch(r"[一-鿿]+", tag)
                and len(tag) > 1
                and subgroup not in ("country-flag", "subdivision-flag")
            ),
            group=meta["groups"][str(entry["group"])],
            subgroup=subgroup,
        )
    return subjects


class Finder:
    """Finds the subject that an icon of a set shows: by its published code points, else by its name, else by a known other name."""

    def __init__(self, subjects: dict[str, Subject], package: str) -> None:
        self.by_code = {plain_code(code): code for code in subjects}
        names: dict[str, list[str]] = {}
        for subject in subjects.values():
            names.setdefault(slug(subject.published), []).append(subject.hexcode)
        labels = {subject.published: subject.hexcode for subject in subjects.values()}
        self.by_name = {name: codes[0] for name, codes in names.items() if len(codes) == 1}
        if package == "fxemoji":  # this set writes names without hyphens
            self.by_name |= {name.replace("-", ""): code for name, code in self.by_name.items()}
        family = "fluent-emoji" if package.startswith("fluent-emoji") else package
        for table in (OTHER_NAMES["*"], OTHER_NAMES.get(family, {})):
            self.by_name |= {name: labels[label] for name, label in table.items() if label in labels}
        flags = {slug(label[6:]): code for label, code in labels.items() if label.startswith("flag: ")}
        self.by_name |= {
            prefix + place: code for place, code in flags.items() for prefix in ("flag-for-", "flag-for-flag-", "flag-")
        }

    def code(self, code: str) -> str | None:
        """The hexcode of a code point sequence in any spelling, or None."""
        return self.by_code.get(plain_code(code))

    def name(self, name: str) -> str | None:
        """The hexcode of an icon name, or None."""
        return self.by_name.get(name)

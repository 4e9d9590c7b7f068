"""What the options of the drawn portraits mean: each set's option values sorted by the human attribute that one sees.

Values were named by looking at each of them; what cannot be named from the picture is not in the captions. Every list holds option
values as the set calls them; `v` stands for `variant`.
"""

from __future__ import annotations

from typing import Any

# form of the hair: English and Chinese, {c} is the colour
HAIR = {
    "short": ("short {c} hair", "{c}短发"), "medium": ("shoulder-length {c} hair", "{c}齐肩发"), "long": ("long {c} hair", "{c}长发"),
    "curly short": ("short curly {c} hair", "{c}短卷发"), "curly long": ("long curly {c} hair", "{c}长卷发"),
    "wavy": ("long wavy {c} hair", "{c}波浪长发"), "bun": ("{c} hair in a bun", "{c}丸子头"), "buns": ("{c} hair in two buns", "{c}双丸子头"),
    "ponytail": ("a {c} ponytail", "{c}马尾辫"), "pigtails": ("{c} pigtails", "{c}双马尾"), "braid": ("a {c} braid", "{c}辫子"),
    "braids": ("{c} braids", "{c}编发"), "bob": ("a {c} bob", "{c}波波头"), "bangs": ("{c} hair with bangs", "{c}刘海头发"),
    "spiky": ("spiky {c} hair", "{c}刺头"), "mohawk": ("a {c} mohawk", "{c}莫西干头"), "buzz": ("a {c} buzz cut", "{c}寸头"),
    "flat top": ("a {c} flat top", "{c}平头"), "afro": ("a {c} afro", "{c}爆炸头"), "dreads": ("{c} dreadlocks", "{c}脏辫"),
    "half": ("half-shaved {c} hair", "半边剃光的{c}头发"), "balding": ("thinning {c} hair", "稀疏的{c}头发"), "bald": ("a bald head", "光头"),
}  # fmt: skip
HATS = {
    "cap": ("a cap", "戴鸭舌帽"), "beanie": ("a beanie", "戴毛线帽"), "hat": ("a hat", "戴帽子"), "hijab": ("a headscarf", "戴头巾"),
    "turban": ("a turban", "缠着包头巾"), "beret": ("a beret", "戴贝雷帽"), "graduation cap": ("a graduation cap", "戴毕业帽"),
    "pirate hat": ("a pirate hat", "戴海盗帽"),
}  # fmt: skip
EXPRESSIONS = {
    "smiling": ("smiling", "微笑"), "laughing": ("laughing", "大笑"), "grinning": ("grinning", "咧嘴笑"), "sad": ("sad", "悲伤"),
    "angry": ("angry", "生气"), "surprised": ("surprised", "惊讶"), "serious": ("serious", "严肃"), "worried": ("worried", "担忧"),
    "nervous": ("nervous", "紧张"), "scared": ("scared", "害怕"), "calm": ("calm", "平静"), "sleepy": ("sleepy", "困倦"), "tired": ("tired", "疲惫"),
    "smirking": ("smirking", "得意"), "frowning": ("frowning", "皱眉"), "pouting": ("pouting", "撅嘴"), "confused": ("confused", "困惑"),
    "winking": ("winking", "眨眼"), "heart-eyed": ("heart-eyed", "爱心眼"), "suspicious": ("suspicious", "怀疑"), "starry-eyed": ("starry-eyed", "星星眼"),
}  # fmt: skip
THINGS = {
    "glasses": ("glasses", "戴眼镜"), "round glasses": ("round glasses", "戴圆眼镜"), "square glasses": ("square glasses", "戴方眼镜"),
    "sunglasses": ("sunglasses", "戴墨镜"), "eye patch": ("an eye patch", "戴眼罩"), "earrings": ("earrings", "戴耳环"),
    "hoop": ("hoop earrings", "戴圈形耳环"), "beard": ("a beard", "留着络腮胡子"), "long beard": ("a long beard", "留着长胡子"),
    "goatee": ("a goatee", "留着山羊胡"), "mustache": ("a mustache", "留着小胡子"), "stubble": ("stubble", "有胡茬"),
    "freckles": ("freckles", "有雀斑"), "flowers": ("flowers in the hair", "头上戴花"), "face mask": ("a face mask", "戴口罩"),
    "cat ears": ("cat ears", "戴猫耳朵"), "clown nose": ("a red clown nose", "戴红色小丑鼻子"), "sleep mask": ("a sleep mask", "戴睡眠眼罩"),
    "tiara": ("a golden tiara", "戴金色头冠"), "pacifier": ("a pacifier", "含着奶嘴"), "braces": ("braces", "戴牙套"), "blush": ("rosy cheeks", "脸颊红润"),
    "waving": ("a waving hand", "挥着手"), "pointing": ("a pointing finger", "伸着手指"), "phone": ("a phone in the hand", "拿着手机"),
    "ok": ("an OK sign", "比着OK手势"), "lightning": ("a lightning bolt on the shirt", "衣服上有闪电图案"), "planet": ("a planet on the shirt", "衣服上有行星图案"),
    "galaxy": ("a galaxy on the shirt", "衣服上有星系图案"), "headband": ("a headband", "戴发箍"), "fangs": ("fangs", "有尖牙"),
}  # fmt: skip
HAIR_COLOURS = {
    "black": ("黑色", "1c1a1a"), "brown": ("棕色", "6a4428"), "blond": ("金色", "e6c35c"), "red": ("红色", "b8321e"), "ginger": ("姜黄色", "d9772b"),
    "grey": ("灰色", "a5a5a5"), "white": ("白色", "efefef"), "blue": ("蓝色", "3c72d8"), "green": ("绿色", "3f9f4a"), "pink": ("粉色", "ef8fb8"),
    "purple": ("紫色", "7b44a8"),
}  # fmt: skip
HAIR_WEIGHTS = (5, 5, 4, 4, 2, 2, 1.5, 1, 1, 1, 1)
CLOTHES_COLOURS = {
    "red": ("红色", "d8392f"), "orange": ("橙色", "f08c34"), "yellow": ("黄色", "f5cf47"), "green": ("绿色", "46a758"), "teal": ("青色", "2f9e9e"),
    "light blue": ("浅蓝色", "9ccdf2"), "blue": ("蓝色", "3569d6"), "purple": ("紫色", "7d4bb8"), "pink": ("粉色", "f29ab8"), "white": ("白色", "f6f6f6"),
    "grey": ("灰色", "909090"), "black": ("黑色", "232323"),
}  # fmt: skip
GROUNDS = {
    "white": ("白色", "ffffff"), "light blue": ("浅蓝色", "b9dcfb"), "blue": ("蓝色", "6fa0f0"), "yellow": ("黄色", "fadf6a"), "pink": ("粉色", "fbc6d8"),
    "light green": ("浅绿色", "c2e8b0"), "green": ("绿色", "71bf7c"), "beige": ("米色", "f2e5cb"), "grey": ("灰色", "c6c6c6"),
    "orange": ("橙色", "f7b067"), "purple": ("紫色", "b491dc"), "red": ("红色", "ec7d72"), "teal": ("青色", "74c6c4"),
}  # fmt: skip
SKINS = {
    "light": ("light skin", "浅色皮肤", ("ffe0c8", "f6d2b3")), "tan": ("tan skin", "小麦色皮肤", ("d9a066", "c68e5c")),
    "brown": ("brown skin", "棕色皮肤", ("a5683f", "96592f")), "dark": ("dark skin", "深色皮肤", ("6e4226", "5c3620")),
}  # fmt: skip


def v(*numbers: int) -> list[str]:
    """The variants with these numbers."""
    return [f"variant{number:02d}" for number in numbers]


# Each set: option names (hair, mouth ...) and what their values show. `women`/`men` sort hair by form; both may share a form.
SETS: dict[str, dict[str, Any]] = {
    "lorelei": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor"], "skin": ["skinColor"],
        "women": {"long": v(15, 16, 21, 23, 40, 41), "wavy": v(35), "curly long": v(24), "medium": v(10, 13, 17, 37), "bob": v(19),
                  "bun": v(14, 38, 45, 46), "buns": v(26), "ponytail": v(31, 33, 36, 42)},
        "men": {"short": v(1, 2, 3, 6, 7, 8, 9, 11, 12, 43, 47), "spiky": v(4), "mohawk": v(27), "buzz": v(28), "bald": v(34), "balding": v(25),
                "curly short": v(22, 39), "afro": v(5)},
        "faces": {"smiling": ["happy01", "happy02", "happy03", "happy04", "happy05", "happy06"], "grinning": ["happy07", "happy16"],
                  "sad": ["sad03", "sad04", "sad05"], "nervous": ["sad06", "sad07"], "surprised": ["sad01"]},
        "glasses": ("glasses", {"round glasses": v(1), "sunglasses": v(2), "glasses": v(3, 4, 5)}),
        "beard": ("beard", {"beard": v(1, 2)}), "earrings": ("earrings", {"earrings": v(1, 2, 3)}),
        "extras": [("hairAccessories", {"flowers": ["flowers"]}, "women"), ("freckles", {"freckles": v(1)}, "both")],
    },
    "notionists": {
        "hair": "hair", "mouth": "lips", "hair_colour": [], "fixed_hair": "black",
        "women": {"medium": v(2, 10, 36, 43, 58), "long": v(41), "wavy": v(23, 28), "bun": v(29, 48, 57), "buns": v(59), "ponytail": v(45, 46, 47), "afro": v(20)},
        "men": {"short": v(1, 5, 12, 13, 15, 18, 21, 25, 27, 34, 35, 54, 55), "curly short": v(31, 33, 40), "spiky": v(50, 51, 53), "mohawk": v(44), "buzz": v(60), "flat top": v(49)},
        "hats": {"women": {"hijab": v(62, 63)}, "men": {"cap": ["hat"], "turban": v(61)}},
        "faces": {"smiling": v(3, 14, 22, 23, 30), "laughing": v(8, 10), "surprised": v(15, 29), "serious": v(4, 13, 21), "sad": v(18, 19)},
        "glasses": ("glasses", {"sunglasses": v(1, 2, 5, 6, 9, 10), "glasses": v(3, 8), "round glasses": v(11)}),
        "beard": ("beard", {"beard": v(2), "goatee": v(1, 8, 12), "mustache": v(3, 5, 6, 7, 10)}),
        "extras": [("gesture", {"waving": ["waveLongArm", "waveLongArms"], "pointing": ["pointLongArm"], "phone": ["handPhone"], "ok": ["okLongArm"]}, "both"),
                   ("bodyIcon", {"lightning": ["electric"], "planet": ["saturn"], "galaxy": ["galaxy"]}, "both")],
        "pin": {"body": v(1, 5, 10, 15, 20)},
    },
    "open-peeps": {
        "hair": "head", "mouth": "face", "hair_colour": ["headContrastColor"], "fixed_hair": "black", "skin": ["skinColor"], "clothes": ["clothingColor"],
        "coloured": ["bangs", "grayBun", "grayMedium", "grayShort", "mediumBangs2", "mohawk", "mohawk2", "short4", "noHair3"],
        "women": {"bangs": ["bangs"], "bob": ["bangs2"], "bun": ["bun", "grayBun"], "buns": ["buns"], "braids": ["cornrows", "cornrows2"], "dreads": ["dreads1"], "afro": ["longAfro"],
                  "medium": ["medium1", "medium2", "medium3", "grayMedium", "mediumBangs", "mediumBangs3", "mediumStraight"], "long": ["long", "longBangs"],
                  "curly long": ["longCurly"], "ponytail": ["mediumBangs2"]},
        "men": {"short": ["short1", "short2", "short3", "short5", "pomp", "shaved1", "shaved2", "grayShort", "short4"], "flat top": ["flatTop", "flatTopLong"], "mohawk": ["mohawk"],
                "spiky": ["mohawk2"], "bald": ["noHair1"], "balding": ["noHair3"], "curly short": ["twists", "twists2"], "afro": ["afro"], "dreads": ["dreads2"]},
        "hats": {"women": {"hijab": ["hijab"], "hat": ["hatHip"]}, "men": {"beanie": ["hatBeanie"], "turban": ["turban"], "hat": ["hatHip"]}},
        "faces": {"smiling": ["smile", "cute"], "grinning": ["smileBig", "smileTeethGap", "lovingGrin2"], "laughing": ["smileLOL"], "heart-eyed": ["lovingGrin1"], "calm": ["calm"],
                  "serious": ["serious", "driven"], "angry": ["veryAngry", "angryWithFang", "rage"], "tired": ["tired"], "worried": ["concerned"],
                  "scared": ["fear"], "suspicious": ["suspicious"], "surprised": ["awe"], "sad": ["solemn"], "sleepy": ["eyesClosed"]},
        "glasses": ("accessories", {"glasses": ["glasses", "glasses2", "glasses3", "glasses4", "glasses5"], "sunglasses": ["sunglasses", "sunglasses2"], "eye patch": ["eyepatch"]}),
        "beard": ("facialHair", {"beard": ["chin", "full", "full2", "full3"], "goatee": ["goatee1", "goatee2"], "mustache": [f"moustache{i}" for i in (2, 3, 5, 6, 7)]}),
        "extras": [("mask", {"face mask": ["medicalMask", "respirator"]}, "both")],
    },
    "adventurer": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor"], "skin": ["skinColor"],
        "women": {"long": ["long04", "long05", "long07", "long09"], "wavy": ["long17"], "curly long": ["long06", "long22"], "medium": ["long01", "long26"], "bob": ["long20", "long21"],
                  "bun": ["long10", "long11", "long12"], "buns": ["long13", "long23"], "ponytail": ["long14", "long19"], "pigtails": ["long15"], "braid": ["long16"],
                  "flowers": ["long03", "long08", "long18"]},
        "men": {"short": ["short01", "short02", "short04", "short07", "short08", "short10", "short11", "short14"], "curly short": ["short03", "short17", "short18"],
                "balding": ["short13"], "mohawk": ["short15"], "spiky": ["short16"], "bald": ["short19"]},
        "faces": {"smiling": v(1, 2, 29, 30), "grinning": v(5, 22, 23), "laughing": v(25, 26, 27), "serious": v(9), "nervous": v(11), "worried": v(14), "sad": v(4),
                  "surprised": v(18), "pouting": v(17)},
        "brows": ("eyebrows", {"angry": v(1, 2), "": v(5, 6, 9, 10, 11, 12, 13, 15)}),
        "glasses": ("glasses", {"sunglasses": v(1), "glasses": v(2, 3, 4, 5)}), "earrings": ("earrings", {"earrings": v(1, 2, 3, 4, 5, 6)}),
        "beard": ("features", {"mustache": ["mustache"]}), "extras": [("features", {"freckles": ["freckles"], "blush": ["blush"]}, "women")],
    },
    "micah": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor", "facialHairColor", "eyebrowsColor"], "skin": ["baseColor"], "clothes": ["shirtColor"],
        "women": {"long": ["full"], "bob": ["pixie"]}, "men": {"short": ["fonze", "dannyPhantom"], "mohawk": ["mrT"], "bald": ["mrClean"], "balding": ["dougFunny"]},
        "hats": {"women": {"turban": ["turban"]}, "men": {"turban": ["turban"]}},
        "faces": {"smiling": ["smile"], "laughing": ["laughing"], "surprised": ["surprised"], "sad": ["sad"], "frowning": ["frown"], "nervous": ["nervous"], "pouting": ["pucker"], "smirking": ["smirk"]},
        "glasses": ("glasses", {"round glasses": ["round"], "square glasses": ["square"]}), "earrings": ("earrings", {"hoop": ["hoop"], "earrings": ["stud"]}),
        "beard": ("facialHair", {"beard": ["beard"], "stubble": ["scruff"]}), "pin": {"eyes": ["eyes", "round"], "eyebrows": ["up", "eyelashesUp"]},
    },
    "personas": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor"], "skin": ["skinColor"], "clothes": ["clothingColor"],
        "women": {"long": ["long", "extraLong"], "half": ["sideShave"], "bob": ["bobCut", "bobBangs"], "afro": ["curly"], "pigtails": ["pigtails"], "bun": ["straightBun", "curlyBun"]},
        "men": {"short": ["shortCombover", "shortComboverChops", "fade"], "curly short": ["curlyHighTop"], "bald": ["bald"], "balding": ["balding"], "buzz": ["buzzcut"], "mohawk": ["mohawk"]},
        "hats": {"men": {"cap": ["cap"], "beanie": ["beanie"]}},
        "faces": {"smiling": ["smile"], "laughing": ["bigSmile"], "frowning": ["frown"], "surprised": ["surprise"], "smirking": ["smirk"]},
        "glasses": ("eyes", {"glasses": ["glasses"], "sunglasses": ["sunglasses"]}), "no_glasses": ["open", "happy"],
        "beard": ("facialHair", {"beard": ["beardMustache"], "mustache": ["pyramid", "walrus"], "goatee": ["goatee"], "stubble": ["shadow"]}),
    },
    "toon-head": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor"], "skin": ["skinColor"], "clothes": ["clothesColor"],
        "women": {"bun": ["bun"], "long": ["sideComed"], "wavy": ["sideComed"], "medium": ["sideComed"]}, "rear": {"long": "longStraight", "wavy": "longWavy", "medium": "shoulderHigh"},
        "men": {"short": ["sideComed", "undercut"], "spiky": ["spiky"]},
        "faces": {"smiling": ["smile"], "laughing": ["laugh"], "angry": ["angry"], "surprised": ["agape"], "sad": ["sad"]},
        "face_pins": {"smiling": {"eyebrows": "happy"}, "laughing": {"eyebrows": "happy"}, "angry": {"eyebrows": "angry"}, "surprised": {"eyebrows": "raised", "eyes": "wide"}, "sad": {"eyebrows": "sad"}},
        "beard": ("beard", {"mustache": ["moustacheTwirl"], "beard": ["fullBeard"], "long beard": ["longBeard"], "goatee": ["chin", "chinMoustache"]}),
        "pin": {"eyes": ["happy", "wide"], "clothes": ["turtleNeck", "shirt", "tShirt", "openJacket"]},
    },
    "big-smile": {
        "hair": "hair", "mouth": "mouth", "hair_colour": ["hairColor"], "skin": ["skinColor"],
        "women": {"bangs": ["bangs"], "bun": ["bunHair", "froBun"], "bob": ["curlyBob"], "half": ["halfShavedHead"], "long": ["straightHair"], "wavy": ["wavyBob"], "braids": ["braids"]},
        "men": {"short": ["shortHair", "bowlCutHair"], "curly short": ["curlyShortHair"], "mohawk": ["mohawk"], "buzz": ["shavedHead"]},
        "faces": {"laughing": ["openedSmile", "gapSmile"], "grinning": ["teethSmile", "awkwardSmile"], "smiling": ["kawaii"], "serious": ["unimpressed"], "sad": ["openSad"]},
        "face_pins": {"sad": {"eyes": "sad"}},
        "glasses": ("accessories", {"glasses": ["glasses"], "sunglasses": ["sunglasses"]}), "beard": ("accessories", {"mustache": ["mustache"]}),
        "extras": [("accessories", {"cat ears": ["catEars"], "clown nose": ["clownNose"], "face mask": ["faceMask"], "tiara": ["sailormoonCrown"], "sleep mask": ["sleepMask"]}, "both")],
        "pin": {"eyes": ["normal", "cheery"]},
    },
    "dylan": {
        "hair": "hair", "mouth": "mood", "hair_colour": ["hairColor"], "skin": ["skinColor"],
        "women": {"long": ["roundBob"], "curly long": ["longCurls", "fluffy"], "bob": ["bangs"], "pigtails": ["buns"], "wavy": ["shaggy"]},
        "men": {"short": ["plain", "wavy", "parting"], "curly short": ["shortCurls"], "spiky": ["spiky"], "flat top": ["flatTop"]},
        "faces": {"smiling": ["happy"], "laughing": ["superHappy"], "angry": ["angry"], "serious": ["neutral"], "sad": ["sad"], "confused": ["confused"]},
        "beard": ("facialHair", {"stubble": ["default"]}),
    },
    "croodles": {
        "hair": "top", "mouth": "mouth", "hair_colour": ["topColor"], "skin": ["baseColor"],
        "women": {"long": v(12, 13, 14, 17), "curly long": v(11, 18), "ponytail": v(15), "pigtails": v(16)},
        "men": {"short": v(1, 3, 7, 9, 29), "spiky": v(2, 6), "curly short": v(5, 10), "bald": v(28), "balding": v(19, 27)},
        "hats": {"both": {"hat": v(20), "beanie": v(21), "graduation cap": v(22), "pirate hat": v(23), "beret": v(24), "cap": v(25)}}, "coloured_hats": True,
        "faces": {"smiling": v(2, 7, 16), "laughing": v(10, 11, 17), "grinning": v(12), "nervous": v(14), "sad": v(18), "serious": v(1, 6)},
        "glasses": ("eyes", {"sunglasses": v(9), "eye patch": v(10), "glasses": v(13, 14, 15)}), "no_glasses": v(1, 2, 3, 4, 11, 16),
        "beard": ("beard", {"stubble": v(1, 3), "beard": v(4), "goatee": v(2, 5)}), "extras": [("mustache", {"mustache": v(1)}, "men")],
    },
}  # fmt: skip
